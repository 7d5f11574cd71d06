//! Private keys at rest, as a server meets them.

use std::fs;

use crate::harness::{House, Manifest};

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];
const OPEN: [(&str, &str); 2] = [
    ("AIRBOSS_KEY_PASSPHRASE", "env:PASSPHRASE"),
    ("PASSPHRASE", "open, sesame"),
];

/// All private keys of a data folder.
fn secrets(house: &House) -> String {
    let mut text = fs::read_to_string(house.data().join("log.key")).unwrap();
    for file in fs::read_dir(house.data().join("keys")).unwrap() {
        text += &fs::read_to_string(file.unwrap().path()).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_seals_the_keys_that_lay_open_and_the_log_goes_on_under_the_same_key() {
    let mut house = House::serving(&Manifest::default()).await;
    let checkpoint = house.path().join("checkpoint.txt");
    let checkpoint = checkpoint.to_str().unwrap();
    let save = ["audit", "verify", "--save", checkpoint];
    house.run(&save).await.ended(0);
    house.run(&["doctor"]).await.ended(0).says(&["not sealed"]);
    house.stop();
    assert_eq!(secrets(&house).matches("PRIVATE").count(), 3);

    house.variables = OPEN.to_vec();
    house.start(&UP).await;
    assert!(!secrets(&house).contains("PRIVATE"));
    let earlier = ["audit", "verify", "--earlier", checkpoint];
    house.run(&earlier).await.ended(0);
    house.run(&["doctor"]).await.ended(0);
    house.stop();

    house.variables.clear();
    let said = house.run(&UP).await;
    said.ended(1)
        .says(&["log.key is sealed", "AIRBOSS_KEY_PASSPHRASE"]);
    house.variables = vec![OPEN[0], ("PASSPHRASE", "open, barley")];
    let said = house.run(&UP).await;
    said.ended(1).says(&["does not open it"]);
    house.variables = OPEN.to_vec();
    house.start(&UP).await;
    house.run(&["status"]).await.ended(0);
}
