//! The JSON Schema that editors complete by.

use airboss_model::manifest::{self, Resource};
use serde_json::{Value, json};

use crate::GOOD;

#[test]
fn the_schema_is_what_was_last_agreed_on() {
    insta::assert_json_snapshot!(manifest::schema());
}

/// The good manifest as JSON.
fn good() -> Value {
    let documents = match manifest::parse("airboss.yaml", GOOD) {
        Ok(documents) => documents,
        Err(findings) => panic!("{}", findings[0]),
    };
    let Resource::Service(service) = &documents[0].resource;
    let mut json = json!(service);
    json["spec"]["judge"] = json!({ "alpha": "0.5%" });
    json["spec"]["slos"][0]["margin"] = json!({ "fail": "1.2x + 0.05%", "pass": "1.5x" });
    json["apiVersion"] = json!("airboss/v1");
    json["kind"] = json!("Service");
    json
}

#[test]
fn the_schema_takes_a_good_manifest_and_refuses_each_bad_one() {
    let validator = jsonschema::draft202012::new(&manifest::schema()).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&good())
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    assert_eq!(problems, Vec::<String>::new());
    for (place, bad) in [
        ("/kind", json!("Servcie")),
        ("/metadata/name", json!("Check_Out")),
        ("/metadata/tier", json!("critcal")),
        ("/metadata/owner", json!(null)),
        ("/spec/target", json!({ "kubernetes": {} })),
        ("/spec/target/process/instances", json!(0)),
        ("/spec/target/process/instances", json!("2")),
        ("/spec/target/process/listen", json!("localhost")),
        ("/spec/target/process/health/http", json!("healthz")),
        ("/spec/target/process/drain", json!("10")),
        ("/spec/slos/0/objective", json!("99.9")),
        ("/spec/slos/0/bad", json!("status => 500")),
        ("/spec/slos/0/margin/fail", json!("10%")),
        ("/spec/judge/alpha", json!("0.01")),
        ("/spec/rollout/canary/steps/0", json!("1")),
        ("/spec/rollout/canary/bake", json!("soon")),
        ("/spec/rollout/canary", json!({ "stepz": [] })),
    ] {
        let mut manifest = good();
        *manifest.pointer_mut(place).unwrap() = bad;
        assert!(!validator.is_valid(&manifest), "{place}: {manifest}");
    }
}
