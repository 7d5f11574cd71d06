//! What an auditor can check.

use std::fs;

use xtask::load::Load;
use xtask::versions::{FIRST, GOOD};

use crate::harness::{House, Manifest};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_exported_and_checked_without_the_server() {
    let mut house = House::up(&Manifest::default()).await;
    house.ship(FIRST, &["--watch"]).await.ended(0);
    let checkpoint = house.path().join("checkpoint.txt");
    let checkpoint = checkpoint.to_str().unwrap();
    house
        .run(&["audit", "verify", "--save", checkpoint])
        .await
        .ended(0)
        .says(&["are those that were sealed"]);
    let load = Load::start(house.listen, "/checkout", 400);
    house.ship(GOOD, &["--watch"]).await.ended(0);
    load.stop().await;
    house
        .run(&["audit", "verify", "--earlier", checkpoint])
        .await
        .ended(0)
        .says(&["grew from the earlier checkpoint"]);
    let bundle = house.path().join("checkout-2.audit.json");
    let bundle = bundle.to_str().unwrap();
    house
        .run(&["audit", "export", "checkout-2", "-o", bundle])
        .await
        .ended(0);
    let release = house.path().join("checkout-1.1.0.audit.json");
    let release = release.to_str().unwrap();
    house
        .run(&["audit", "export", "checkout@1.1.0", "-o", release])
        .await
        .ended(0);
    for about in ["1.1.0", "checkout@1.1.0", "checkout-2"] {
        house.run(&["trace", about]).await.ended(0).says(&[
            "checkout@1.1.0",
            "checkout-2",
            "production",
        ]);
    }
    house.stop();

    let key = house.data().join("log.vkey");
    let key = key.to_str().unwrap();
    house
        .run(&["audit", "verify", bundle, "--key", key])
        .await
        .ended(0)
        .says(&["none is missing", "word for word", "byte for byte"]);
    house
        .run(&["audit", "verify", release, "--key", key])
        .await
        .ended(0)
        .says(&["checkout-2: ", "byte for byte"]);
    let text = fs::read_to_string(bundle).unwrap();
    fs::write(bundle, text.replacen("1.1.0", "1.1.1", 1)).unwrap();
    house
        .run(&["audit", "verify", bundle, "--key", key])
        .await
        .ended(3)
        .says(&["is not what was sealed"]);
}
