//! What the manifest promises to people who write one.

mod bad_manifests;
mod fuzzed;
mod good_manifests;
mod schema;

/// A manifest without findings, the base of many tests.
pub const GOOD: &str = r#"apiVersion: airboss/v1
kind: Service
metadata: { name: checkout, owner: payments, tier: critical }
spec:
  target:
    process:
      command: ["{artifact}/checkout", "--port", "{port}"]
      instances: 2
      listen: 127.0.0.1:8080
      env:
        LOG_LEVEL: info
        API_TOKEN: env:CHECKOUT_TOKEN
      health: { http: /healthz, ready_within: 10s }
      drain: 10s
      sticky: { cookie: arm }
  slos:
    - { name: availability, objective: 99.9%, bad: "status >= 500" }
    - { name: latency, objective: 99%, under: 250ms }
  rollout:
    canary: { steps: [1%, 10%, 50%, 100%], bake: auto, at_most: 20m }
    require: [signed, provenance, tests, scan: { max: high, age: 7d }, sbom]
    exposure_lease: 60s
"#;

/// [`GOOD`] with one piece replaced.
pub fn with(piece: &str, other: &str) -> String {
    assert_eq!(GOOD.matches(piece).count(), 1, "{piece}");
    GOOD.replace(piece, other)
}

/// All findings of a text, warnings of a good one included, as people see them.
pub fn findings(text: &str) -> Vec<airboss_model::manifest::Diagnostic> {
    match airboss_model::manifest::parse("airboss.yaml", text) {
        Ok(documents) => documents
            .into_iter()
            .flat_map(|document| document.warnings)
            .collect(),
        Err(findings) => findings,
    }
}
