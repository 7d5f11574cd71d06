//! What a good manifest means.

use airboss_model::ServiceName;
use airboss_model::manifest::{self, Detected, Resource, Service, Strategy, Target};

use crate::{GOOD, findings, with};

fn service(text: &str) -> Service {
    let documents = match manifest::parse("airboss.yaml", text) {
        Ok(documents) => documents,
        Err(findings) => panic!("{}", findings[0]),
    };
    assert_eq!(documents[0].warnings, []);
    let Resource::Service(service) = documents[0].resource.clone();
    *service
}

#[test]
fn every_field_of_a_manifest_arrives() {
    let service = service(GOOD);
    insta::assert_json_snapshot!(service);
    let json = serde_json::to_string(&service).unwrap();
    assert_eq!(serde_json::from_str::<Service>(&json).unwrap(), service);
}

#[test]
fn a_strategy_that_is_named_with_nothing_behind_it_is_chosen() {
    let canary = "canary: { steps: [1%, 10%, 50%, 100%], bake: auto, at_most: 20m }";
    let all = service(&with(canary, "all_at_once:"));
    assert!(matches!(
        all.spec.rollout.strategy(),
        Strategy::AllAtOnce(_)
    ));
    let both = service(&with(canary, "blue_green:"));
    assert!(matches!(
        both.spec.rollout.strategy(),
        Strategy::BlueGreen(_)
    ));
    let canary = service(&with(canary, "canary:"));
    let Strategy::Canary(canary) = canary.spec.rollout.strategy() else {
        panic!("a canary was named");
    };
    assert_eq!(canary, manifest::Canary::default());
}

#[test]
fn a_scan_that_is_named_with_nothing_behind_it_has_the_usual_limits() {
    let usual = service(GOOD).spec.rollout.require;
    for bare in ["scan", "scan: {}", "scan:", "scan: { age: 7d }"] {
        let text = with("scan: { max: high, age: 7d }", bare);
        assert_eq!(service(&text).spec.rollout.require, usual, "{bare}");
    }
}

#[test]
fn a_text_stays_as_it_was_written() {
    let service = service(&with(
        "LOG_LEVEL: info",
        "A: 1.10\n        B: no\n        C: 010\n        D: true",
    ));
    let Target::Process(process) = service.spec.target;
    let values: Vec<&str> = process.env.values().map(String::as_str).collect();
    assert_eq!(values, ["1.10", "env:CHECKOUT_TOKEN", "no", "010", "true"]);
}

#[test]
fn a_byte_order_mark_line_ends_of_windows_and_aliases_are_read() {
    service(&format!("\u{feff}{GOOD}"));
    service(&GOOD.replace('\n', "\r\n"));
    let text = with("drain: 10s", "drain: &ten 10s").replace("within: 10s", "within: 12s");
    let service = service(&format!(
        "{}    when_busy: queue\n",
        text.replace("20m", "*ten")
    ));
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        panic!("a canary was named");
    };
    assert_eq!(canary.at_most, airboss_model::Span::secs(10));
}

#[test]
fn several_documents_arrive_in_order_and_empty_ones_are_skipped() {
    let second = GOOD
        .replace("name: checkout", "name: cart")
        .replace("8080", "8081");
    let text = format!("---\n---\n{GOOD}---\n{second}...\n---\n");
    let documents = manifest::parse("airboss.yaml", &text).unwrap();
    let names: Vec<&str> = documents.iter().map(|d| d.resource.name()).collect();
    assert_eq!(names, ["checkout", "cart"]);
}

#[test]
fn a_warning_stays_with_its_document() {
    let second = with("\"{port}\"", "\"80\"").replace("name: checkout", "name: cart");
    let text = format!("{GOOD}---\n{}", second.replace("8080", "8081"));
    let documents = manifest::parse("airboss.yaml", &text).unwrap();
    let counts: Vec<usize> = documents.iter().map(|d| d.warnings.len()).collect();
    assert_eq!(counts, [0, 1]);
}

#[test]
fn the_template_has_no_findings_whatever_was_detected() {
    let full = Detected {
        name: "check-out".parse().unwrap(),
        owner: Some("Päyments: \"EU\" #1".to_owned()),
        command: ["{artifact}/a b", "--port={port}", "\\ \" : #"]
            .map(str::to_owned)
            .to_vec(),
        env: vec![("PORT".to_owned(), "{port}".to_owned())],
        listen: "[::1]:8080".to_owned(),
        health: Some("/healthz".to_owned()),
        from: Some("Cargo.toml".to_owned()),
    };
    let bare = Detected {
        name: "123".parse::<ServiceName>().unwrap(),
        owner: None,
        env: Vec::new(),
        health: None,
        from: None,
        ..full.clone()
    };
    for detected in [&full, &bare] {
        let text = manifest::template(detected);
        assert!(text.starts_with("# yaml-language-server: $schema=.airboss/schema.json\n"));
        assert_eq!(findings(&text), [], "{text}");
        let service = service(&text);
        let Target::Process(process) = service.spec.target;
        assert_eq!(service.metadata.name, detected.name);
        assert_eq!(service.metadata.owner, detected.owner);
        assert_eq!(process.command, detected.command);
        assert_eq!(process.listen, detected.listen);
        assert_eq!(process.health.http, detected.health);
    }
    insta::assert_snapshot!(manifest::template(&full));
}
