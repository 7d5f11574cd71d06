//! What CI and others say of artifacts.

use airboss_store::{
    ATTESTATIONS_MAX, AttestationRow, BuildRow, DeliveryFilter, DeliveryRow, DocumentRow,
    NewAttestation, ReleaseFilter, Store, StoreError,
};
use serde_json::json;

use crate::make::{at, digest};

pub fn said(artifact: u8, document: u8) -> NewAttestation {
    NewAttestation {
        row: AttestationRow {
            number: 0,
            digest: digest(artifact),
            id: digest(document),
            form: "dsse".to_owned(),
            predicate: "https://slsa.dev/provenance/v1".to_owned(),
            facts: json!({ "kind": "other" }),
            verification: json!({ "verdict": "verified" }),
            source: "prov.intoto.jsonl".to_owned(),
            by: "ci".to_owned(),
            at: at(1),
            checked_at: at(1),
        },
        document: DocumentRow {
            bytes: vec![0, 255, document],
            envelope: None,
        },
    }
}

fn build(release: &str, commit: Option<&str>, run: Option<&str>) -> BuildRow {
    BuildRow {
        release: release.parse().unwrap(),
        commit: commit.map(str::to_owned),
        reference: None,
        run: run.map(str::to_owned),
        actor: None,
        repository: None,
        builder: None,
        at: at(3),
    }
}

pub async fn the_same_document_about_the_same_artifact_is_one(store: &dyn Store) {
    assert_eq!(
        store
            .put_attestations(&[said(1, 7), said(1, 8)])
            .await
            .unwrap(),
        [true, true]
    );
    let mut again = said(1, 7);
    again.row.at = at(50);
    again.row.by = "eve".to_owned();
    let added = store.put_attestations(&[again, said(2, 7)]).await.unwrap();
    assert_eq!(added, [false, true]);
    let kept = store.attestations(&digest(1)).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].at, kept[0].by.as_str()), (at(1), "ci"));
    assert_eq!(store.attestations(&digest(2)).await.unwrap().len(), 1);
    assert_eq!(store.attestations(&digest(3)).await.unwrap(), []);
}

pub async fn documents_are_kept_all_or_none(store: &dyn Store) {
    let id = |n: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        airboss_model::Digest::from_sha256(bytes)
    };
    let many = |from: u64, to: u64| -> Vec<NewAttestation> {
        (from..to)
            .map(|n| {
                let mut said = said(1, 1);
                said.row.id = id(n);
                said
            })
            .collect()
    };
    store
        .put_attestations(&many(0, ATTESTATIONS_MAX - 1))
        .await
        .unwrap();
    let refused = store
        .put_attestations(&many(ATTESTATIONS_MAX, ATTESTATIONS_MAX + 2))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    let kept = store.attestations(&digest(1)).await.unwrap();
    assert_eq!(kept.len() as u64, ATTESTATIONS_MAX - 1);
    let first = store.document(&digest(1), &id(ATTESTATIONS_MAX)).await;
    assert_eq!(first.unwrap(), None);
}

pub async fn the_latest_check_wins(store: &dyn Store) {
    store.put_attestations(&[said(1, 7)]).await.unwrap();
    let (refused, verified) = (json!({ "verdict": "refused" }), json!({ "verdict": "old" }));
    let (artifact, id) = (digest(1), digest(7));
    store
        .put_check(&artifact, &id, &refused, at(9))
        .await
        .unwrap();
    store
        .put_check(&artifact, &id, &verified, at(8))
        .await
        .unwrap();
    let kept = &store.attestations(&artifact).await.unwrap()[0];
    assert_eq!((&kept.verification, kept.checked_at), (&refused, at(9)));
    assert_eq!(kept.at, at(1));
}

pub async fn a_document_comes_back_byte_for_byte(store: &dyn Store) {
    let mut large = said(1, 7);
    large.document.bytes = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    large.document.envelope = Some("{}".to_owned());
    store.put_attestations(&[large.clone()]).await.unwrap();
    let kept = store.document(&digest(1), &digest(7)).await.unwrap();
    assert_eq!(kept, Some(large.document));
    assert_eq!(store.document(&digest(2), &digest(7)).await.unwrap(), None);
}

pub async fn every_document_is_found_in_the_order_of_arrival(store: &dyn Store) {
    for (artifact, document) in [(1, 7), (2, 8), (1, 9)] {
        store
            .put_attestations(&[said(artifact, document)])
            .await
            .unwrap();
    }
    let first = store.attestations_after(0, 2).await.unwrap();
    let rest = store.attestations_after(first[1].number, 0).await.unwrap();
    let ids: Vec<_> = first.iter().chain(&rest).map(|it| it.id).collect();
    assert_eq!(ids, [digest(7), digest(8), digest(9)]);
}

pub async fn what_ci_told_stays_and_what_is_new_is_added(store: &dyn Store) {
    let release = "shop@1.0.0".parse().unwrap();
    assert_eq!(store.build(&release).await.unwrap(), None);
    let first = store
        .put_build(&build("shop@1.0.0", Some("abc1"), None))
        .await;
    assert_eq!(first.unwrap().commit.as_deref(), Some("abc1"));
    let mut more = build("shop@1.0.0", Some("def2"), Some("https://ci/7"));
    more.at = at(90);
    more.actor = Some("ann".to_owned());
    let kept = store.put_build(&more).await.unwrap();
    assert_eq!(kept.commit.as_deref(), Some("abc1"));
    assert_eq!(kept.run.as_deref(), Some("https://ci/7"));
    assert_eq!(kept.at, at(3));
    assert_eq!(store.build(&release).await.unwrap(), Some(kept));
}

pub async fn releases_are_found_by_what_is_said_of_them(store: &dyn Store) {
    for (id, content, commit, run, actor) in [
        ("shop@1.0.0", 1, "abc1f", "https://ci/runs/7", "ann"),
        (
            "shop@2.0.0",
            2,
            "abc2",
            "https://ci/runs/8/attempts/2",
            "bob",
        ),
        ("cart@1.0.0", 3, "abd", "https://ci/runs/80", "ann"),
    ] {
        let release = crate::make::release(id, content);
        store.create_release(&release).await.unwrap();
        let mut build = build(id, Some(commit), Some(run));
        build.actor = Some(actor.to_owned());
        store.put_build(&build).await.unwrap();
    }
    let mut report = said(2, 7);
    report.row.facts = json!({ "kind": "tests", "name": "unit of the \"shop\"" });
    store.put_attestations(&[report]).await.unwrap();
    let artifact = airboss_store::ArtifactRow {
        digest: digest(3),
        size: 1,
        source: String::new(),
        at: at(1),
    };
    store.put_artifact(&artifact).await.unwrap();
    let origin = airboss_model::Origin {
        repository: "registry.test/cart".to_owned(),
        tag: None,
        resolved: digest(40),
        manifest: digest(41),
        platform: None,
    };
    store.put_origin(&digest(3), &origin, at(1)).await.unwrap();
    let of = |text: &str| text.to_owned();
    let table: &[(ReleaseFilter, &[&str])] = &[
        (
            ReleaseFilter::Commit(of("abc")),
            &["shop@2.0.0", "shop@1.0.0"],
        ),
        (ReleaseFilter::Commit(of("abc1f")), &["shop@1.0.0"]),
        (ReleaseFilter::Run(of("https://ci/runs/7")), &["shop@1.0.0"]),
        (ReleaseFilter::Run(of("https://ci/runs/8")), &["shop@2.0.0"]),
        (ReleaseFilter::Run(of("8")), &["shop@2.0.0"]),
        (
            ReleaseFilter::Run(of("https://ci/runs")),
            &["cart@1.0.0", "shop@2.0.0", "shop@1.0.0"],
        ),
        (ReleaseFilter::Run(of("%")), &[]),
        (
            ReleaseFilter::Actor(of("ann")),
            &["cart@1.0.0", "shop@1.0.0"],
        ),
        (
            ReleaseFilter::Document(digest(7).to_string()),
            &["shop@2.0.0"],
        ),
        (
            ReleaseFilter::Document(of("sha256:0707070")),
            &["shop@2.0.0"],
        ),
        (
            ReleaseFilter::Said(json!("unit of the \"shop\"").to_string()),
            &["shop@2.0.0"],
        ),
        (ReleaseFilter::Said(of("\"unit\"")), &[]),
        (
            ReleaseFilter::Image(digest(40).to_string()),
            &["cart@1.0.0"],
        ),
        (
            ReleaseFilter::Image(digest(41).to_string()),
            &["cart@1.0.0"],
        ),
        (ReleaseFilter::Image(digest(42).to_string()), &[]),
    ];
    for (filter, expected) in table {
        let found = store.find_releases(filter, 0).await.unwrap();
        let found: Vec<String> = found.iter().map(|it| it.id.to_string()).collect();
        assert_eq!(found, *expected, "{filter:?}");
    }
}

pub async fn releases_since_a_time_are_found(store: &dyn Store) {
    for (id, seconds) in [("shop@1.0.0", 5), ("cart@1.0.0", 6), ("shop@1.0.1", 7)] {
        let mut row = crate::make::release(id, 1);
        row.at = at(seconds);
        store.create_release(&row).await.unwrap();
    }
    let since = ReleaseFilter::Since(at(6));
    let found = store.find_releases(&since, 0).await.unwrap();
    let found: Vec<String> = found.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(found, ["shop@1.0.1", "cart@1.0.0"]);
}

fn delivery(id: &str, seconds: i64) -> DeliveryRow {
    DeliveryRow {
        id: id.to_owned(),
        sender: "github".to_owned(),
        event: "workflow_run".to_owned(),
        outcome: "noted".to_owned(),
        build: Some(json!({ "actor": "ann" })),
        commit: Some("abc1".to_owned()),
        run: Some(format!("https://ci/{id}")),
        release: (id == "a").then(|| "shop@1.0.0".parse().unwrap()),
        at: at(seconds),
    }
}

pub async fn a_delivery_is_taken_once_until_it_is_forgotten(store: &dyn Store) {
    let mut again = delivery("a", 20);
    again.outcome = "otherwise".to_owned();
    assert!(store.put_delivery(&delivery("a", 10), at(0)).await.unwrap());
    assert!(!store.put_delivery(&again, at(10)).await.unwrap());
    let all = store.deliveries(&DeliveryFilter::All, 0).await.unwrap();
    assert_eq!(all, [delivery("a", 10)]);
    assert!(
        store
            .put_delivery(&delivery("a", 30), at(11))
            .await
            .unwrap()
    );
}

pub async fn deliveries_are_found_by_id_commit_and_run(store: &dyn Store) {
    let mut other = delivery("b", 2);
    (other.commit, other.build) = (None, None);
    for row in [&delivery("a", 1), &other, &delivery("c", 3)] {
        assert!(store.put_delivery(row, at(0)).await.unwrap());
    }
    let about = |commit: Option<&str>, run: Option<&str>| DeliveryFilter::About {
        release: None,
        commit: commit.map(str::to_owned),
        run: run.map(str::to_owned),
    };
    let of_release = DeliveryFilter::About {
        release: Some("shop@1.0.0".parse().unwrap()),
        commit: None,
        run: None,
    };
    let table: &[(DeliveryFilter, &[&str])] = &[
        (DeliveryFilter::All, &["c", "b", "a"]),
        (DeliveryFilter::Id("b".to_owned()), &["b"]),
        (about(Some("abc1"), None), &["c", "a"]),
        (about(Some("abc"), Some("https://ci/b")), &["b"]),
        (about(None, None), &[]),
        (of_release, &["a"]),
    ];
    for (filter, expected) in table {
        let found = store.deliveries(filter, 0).await.unwrap();
        let found: Vec<&str> = found.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(found, *expected, "{filter:?}");
    }
    let one = store.deliveries(&DeliveryFilter::All, 1).await.unwrap();
    assert_eq!(one, [delivery("c", 3)]);
}
