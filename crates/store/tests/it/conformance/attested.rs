//! What CI and others say of artifacts.

use airboss_store::{
    ATTESTATIONS_MAX, AttestationRow, BuildFilter, BuildRow, DocumentRow, NewAttestation, Store,
    StoreError,
};
use serde_json::json;

use crate::make::{at, digest};

fn said(artifact: u8, document: u8) -> NewAttestation {
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

pub async fn builds_are_found_by_commit_and_run(store: &dyn Store) {
    for (release, commit, run) in [
        ("shop@1.0.0", "abc1f", "r1"),
        ("shop@2.0.0", "abc2", "r2"),
        ("cart@1.0.0", "abd", "r2"),
    ] {
        let build = build(release, Some(commit), Some(run));
        store.put_build(&build).await.unwrap();
    }
    let found = async |filter| {
        let builds = store.builds(&filter, 0).await.unwrap();
        let mut found: Vec<_> = builds
            .into_iter()
            .map(|it| it.release.to_string())
            .collect();
        found.sort();
        found
    };
    let by_commit = found(BuildFilter::Commit("abc".to_owned())).await;
    assert_eq!(by_commit, ["shop@1.0.0", "shop@2.0.0"]);
    let whole = found(BuildFilter::Commit("abc1f".to_owned())).await;
    assert_eq!(whole, ["shop@1.0.0"]);
    let by_run = found(BuildFilter::Run("r2".to_owned())).await;
    assert_eq!(by_run, ["cart@1.0.0", "shop@2.0.0"]);
}

pub async fn a_delivery_is_taken_once_until_it_is_forgotten(store: &dyn Store) {
    assert!(store.put_delivery("a", at(10), at(0)).await.unwrap());
    assert!(!store.put_delivery("a", at(20), at(10)).await.unwrap());
    assert!(store.put_delivery("a", at(30), at(11)).await.unwrap());
}
