//! The manifest of a test's service.

use std::net::SocketAddr;

/// What tests vary. Shares are large and holds short, so that proof comes within seconds.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub name: &'static str,
    pub command: &'static str,
    pub instances: u32,
    pub ready_within: &'static str,
    pub slos: &'static str,
    pub guardrails: &'static str,
    pub steps: &'static str,
    pub lease: &'static str,
    pub when_busy: &'static str,
    pub require: &'static str,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            name: "checkout",
            command: r#"["{artifact}/checkout", "--port", "{port}"]"#,
            instances: 1,
            ready_within: "20s",
            slos: r#"[{ name: availability, objective: 99%, bad: "status >= 500" }]"#,
            guardrails: "[]",
            steps: "[40%, 100%]",
            lease: "60s",
            when_busy: "queue",
            require: "[]",
        }
    }
}

/// Both promises of the example service.
pub const ERRORS_AND_LATENCY: &str = r#"[{ name: availability, objective: 99%, bad: "status >= 500" }, { name: latency, objective: 95%, under: 250ms }]"#;

impl Manifest {
    /// As YAML, for users at `listen`.
    pub fn text(&self, listen: SocketAddr) -> String {
        let Self {
            name,
            command,
            instances,
            ready_within,
            slos,
            guardrails,
            steps,
            lease,
            when_busy,
            require,
        } = self;
        format!(
            "apiVersion: airboss/v1
kind: Service
metadata: {{ name: {name}, owner: tests }}
spec:
  target:
    process:
      command: {command}
      instances: {instances}
      listen: {listen}
      health: {{ http: /healthz, ready_within: {ready_within} }}
      drain: 2s
  slos: {slos}
  guardrails: {guardrails}
  rollout:
    when_busy: {when_busy}
    require: {require}
    exposure_lease: {lease}
    canary: {{ steps: {steps}, bake: auto, at_most: 5m, hold_old: 1s }}
"
        )
    }
}
