//! Services, artifacts, releases and the numbers of rollouts.

use airboss_model::{Digest, Origin};
use airboss_store::{
    ArtifactFilter, ArtifactRow, ReleaseFilter, Removal, Store, StoreError, TagSeen,
};

use crate::make::{at, digest, release, service};

pub async fn a_version_cannot_move_to_another_digest(store: &dyn Store) {
    store
        .create_release(&release("shop@1.0.0", 1))
        .await
        .unwrap();
    let refused = store
        .create_release(&release("shop@1.0.0", 2))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::VersionPinned { .. }));
    let text = refused.to_string();
    assert!(text.contains(&digest(1).to_string()), "{text}");
    assert!(text.contains(&digest(2).to_string()), "{text}");
    let kept = store.release(&"shop@1.0.0".parse().unwrap()).await.unwrap();
    assert_eq!(kept.unwrap().digest, digest(1));
}

pub async fn the_same_release_again_is_the_one_that_exists(store: &dyn Store) {
    let first = store
        .create_release(&release("shop@1.0.0", 1))
        .await
        .unwrap();
    let mut later = release("shop@1.0.0", 1);
    later.at = at(100);
    later.created_by = "bob".to_owned();
    assert_eq!(store.create_release(&later).await.unwrap(), first);
}

pub async fn a_rollout_id_is_never_given_twice(store: &dyn Store) {
    let (shop, shop_2) = ("shop".parse().unwrap(), "shop-2".parse().unwrap());
    let (a, b, c) = tokio::join!(
        store.allocate_rollout(&shop),
        store.allocate_rollout(&shop_2),
        store.allocate_rollout(&shop),
    );
    assert_eq!(a.unwrap().as_str(), "shop-1");
    assert_eq!(b.unwrap().as_str(), "shop-2-1");
    assert_eq!(c.unwrap().as_str(), "shop-2");
}

pub async fn a_new_manifest_text_is_a_new_version_and_the_same_text_none(store: &dyn Store) {
    let first = service("shop", "a");
    store.put_service(&first).await.unwrap();
    let mut same = first.clone();
    same.at = at(100);
    store.put_service(&same).await.unwrap();
    assert_eq!(
        store.service(&first.name).await.unwrap(),
        Some(first.clone())
    );

    let second = service("shop", "ab");
    store.put_service(&second).await.unwrap();
    let other = service("cart", "abc");
    store.put_service(&other).await.unwrap();
    assert_eq!(
        store.service(&first.name).await.unwrap(),
        Some(second.clone())
    );
    assert_eq!(store.services().await.unwrap(), [other, second]);
}

pub async fn a_return_to_an_older_manifest_is_in_force(store: &dyn Store) {
    for text in ["a", "ab", "a"] {
        store.put_service(&service("shop", text)).await.unwrap();
    }
    let kept = store.service(&"shop".parse().unwrap()).await.unwrap();
    assert_eq!(kept.unwrap().text, "a");
}

pub async fn an_artifact_registered_again_stays_as_it_was(store: &dyn Store) {
    let first = ArtifactRow {
        digest: digest(9),
        size: u64::from(u32::MAX) * 4,
        source: "./dist".to_owned(),
        at: at(0),
    };
    store.put_artifact(&first).await.unwrap();
    let again = ArtifactRow {
        source: "elsewhere".to_owned(),
        ..first.clone()
    };
    store.put_artifact(&again).await.unwrap();
    assert_eq!(store.artifact(&first.digest).await.unwrap(), Some(first));
    assert_eq!(store.artifact(&digest(8)).await.unwrap(), None);
}

pub async fn releases_are_listed_newest_first(store: &dyn Store) {
    for id in ["shop@1.0.0", "shop@0.9.0", "cart@3.0.0", "shop@2.0.0"] {
        store.create_release(&release(id, 1)).await.unwrap();
    }
    let listed = store.releases(&"shop".parse().unwrap(), 2).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["shop@2.0.0", "shop@0.9.0"]);
}

pub async fn releases_are_found_by_version_digest_and_person(store: &dyn Store) {
    for (id, content, by) in [
        ("shop@1.0.0", 1, "ada"),
        ("cart@1.0.0", 2, "bob"),
        ("shop@1.0.1", 1, "ada"),
        ("shop@11.0.0", 3, "bob"),
    ] {
        let mut row = release(id, content);
        row.created_by = by.to_owned();
        store.create_release(&row).await.unwrap();
    }
    let found = async |filter: ReleaseFilter| {
        let rows = store.find_releases(&filter, 0).await.unwrap();
        let ids = rows.into_iter().map(|row| row.id.to_string());
        ids.collect::<Vec<_>>()
    };
    let version = |it: &str| ReleaseFilter::Version(it.to_owned());
    assert_eq!(found(version("1.0.0")).await, ["cart@1.0.0", "shop@1.0.0"]);
    assert_eq!(found(version("0.0")).await, [""; 0]);
    let whole = digest(1).to_string();
    for part in [&whole, &whole[.."sha256:".len() + 7]] {
        let filter = ReleaseFilter::Digest(part.to_owned());
        assert_eq!(found(filter).await, ["shop@1.0.1", "shop@1.0.0"]);
    }
    let by = ReleaseFilter::By("bob".to_owned());
    assert_eq!(found(by).await, ["shop@11.0.0", "cart@1.0.0"]);
    let one = store.find_releases(&version("1.0.0"), 1).await.unwrap();
    assert_eq!(one.len(), 1);
}

pub fn artifact(byte: u8, seconds: i64) -> ArtifactRow {
    ArtifactRow {
        digest: digest(byte),
        size: 10,
        source: "./dist".to_owned(),
        at: at(seconds),
    }
}

fn origin(tag: Option<&str>, resolved: Digest) -> Origin {
    Origin {
        repository: "registry.test/shop".to_owned(),
        tag: tag.map(str::to_owned),
        resolved,
        manifest: digest(50),
        platform: Some("linux/amd64".to_owned()),
    }
}

pub async fn an_artifact_knows_its_origins_and_what_their_tags_point_to_now(store: &dyn Store) {
    store.put_artifact(&artifact(1, 0)).await.unwrap();
    store.put_artifact(&artifact(2, 1)).await.unwrap();
    let tagged = origin(Some("1.4.0"), digest(40));
    let pinned = origin(None, digest(40));
    for _ in 0..2 {
        store.put_origin(&digest(1), &tagged, at(2)).await.unwrap();
        store.put_origin(&digest(1), &pinned, at(3)).await.unwrap();
    }
    let of_manifest = ArtifactFilter {
        manifest: Some(digest(50)),
        ..ArtifactFilter::default()
    };
    let found = store.artifacts(&of_manifest).await.unwrap();
    assert_eq!(found.len(), 1);
    let of_index = ArtifactFilter {
        manifest: Some(digest(40)),
        ..ArtifactFilter::default()
    };
    assert_eq!(store.artifacts(&of_index).await.unwrap(), found);
    let known = &found[0].origins;
    assert_eq!(known.len(), 2);
    assert_eq!((&known[0].origin, known[0].seen), (&pinned, None));
    assert_eq!(known[1].origin, tagged);
    assert_eq!(known[1].seen.unwrap().digest, digest(40));

    let moved = TagSeen {
        digest: digest(41),
        at: at(10),
    };
    let repository = &tagged.repository;
    store.put_tag(repository, "1.4.0", &moved).await.unwrap();
    // An older look that comes late says nothing.
    let late = TagSeen {
        digest: digest(42),
        at: at(9),
    };
    store.put_tag(repository, "1.4.0", &late).await.unwrap();
    let found = store.artifacts(&of_manifest).await.unwrap();
    assert_eq!(found[0].origins[1].seen, Some(moved));
}

pub async fn a_removed_artifact_is_remembered_and_may_come_back(store: &dyn Store) {
    store.put_artifact(&artifact(1, 0)).await.unwrap();
    store
        .create_release(&release("shop@1.0.0", 1))
        .await
        .unwrap();
    store
        .create_release(&release("cart@1.0.0", 1))
        .await
        .unwrap();
    let removal = Removal {
        at: at(20),
        why: "older than 30 days".to_owned(),
    };
    let gone = store.remove_artifact(&digest(1), &removal, at(5)).await;
    assert!(gone.unwrap());
    assert_eq!(store.artifact(&digest(1)).await.unwrap(), None);
    let all = store.artifacts(&ArtifactFilter::default()).await.unwrap();
    assert_eq!(all[0].removed, Some(removal.clone()));
    let releases: Vec<&str> = all[0].releases.iter().map(|id| id.as_str()).collect();
    assert_eq!(releases, ["shop@1.0.0", "cart@1.0.0"]);
    let again = store.remove_artifact(&digest(1), &removal, at(5)).await;
    assert!(!again.unwrap());

    store.put_artifact(&artifact(1, 30)).await.unwrap();
    let back = store.artifact(&digest(1)).await.unwrap().unwrap();
    assert_eq!(back.at, at(0));
    // Who planned the removal before it came back must leave it.
    let planned_before = store.remove_artifact(&digest(1), &removal, at(29)).await;
    assert!(!planned_before.unwrap());
}

pub async fn artifacts_are_listed_those_kept_last_first(store: &dyn Store) {
    for (byte, seconds) in [(1, 0), (2, 5), (3, 3), (1, 9)] {
        store.put_artifact(&artifact(byte, seconds)).await.unwrap();
    }
    let removal = Removal {
        at: at(20),
        why: String::new(),
    };
    store
        .remove_artifact(&digest(3), &removal, at(20))
        .await
        .unwrap();
    let list = async |kept, limit| {
        let filter = ArtifactFilter {
            kept,
            limit,
            ..ArtifactFilter::default()
        };
        let all = store.artifacts(&filter).await.unwrap();
        all.iter().map(|it| it.artifact.digest).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 0).await, [digest(1), digest(2), digest(3)]);
    assert_eq!(list(Some(true), 0).await, [digest(1), digest(2)]);
    assert_eq!(list(Some(false), 0).await, [digest(3)]);
    assert_eq!(list(None, 1).await, [digest(1)]);
}
