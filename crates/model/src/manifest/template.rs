//! The manifest that `airboss init` writes.

use std::fmt::Write as _;

use super::API_VERSION;
use crate::ServiceName;

/// The file, beside the manifest, that the template names as its schema.
pub const SCHEMA_FILE: &str = ".airboss/schema.json";

/// What a look at a folder told about the service in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The service's name.
    pub name: ServiceName,
    /// The team that owns it, where known.
    pub owner: Option<String>,
    /// Program and arguments, with placeholders.
    pub command: Vec<String>,
    /// Environment that the program needs, with placeholders.
    pub env: Vec<(String, String)>,
    /// The address for users, `HOST:PORT`.
    pub listen: String,
    /// Path of the health check, where known.
    pub health: Option<String>,
    /// What the guesses were made from, such as "Cargo.toml".
    pub from: Option<String>,
}

/// A text in double quotes, with the escapes that YAML and JSON share.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The commented manifest for a service; [`super::parse`] takes it without findings where
/// the command uses `{port}` and `{artifact}`.
pub fn template(detected: &Detected) -> String {
    let command: Vec<String> = detected.command.iter().map(|word| quoted(word)).collect();
    let command = command.join(", ");
    let (name, listen) = (&detected.name, quoted(&detected.listen));
    let mut text = format!("# yaml-language-server: $schema={SCHEMA_FILE}\n");
    if let Some(from) = &detected.from {
        // A file name with a line break must not end the comment.
        let from: String = from.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(text, "# Guessed from {from}; check the lines marked (?).");
    }
    let _ = write!(
        text,
        "apiVersion: {API_VERSION}\nkind: Service\nmetadata:\n  name: {}\n",
        quoted(name.as_str())
    );
    let _ = match &detected.owner {
        Some(owner) => writeln!(text, "  owner: {}", quoted(owner)),
        None => writeln!(text, "  # owner: payments     # the team to ask"),
    };
    let _ = write!(
        text,
        "  tier: standard        # critical, standard or low

spec:
  target:
    process:
      # (?) {{artifact}} is the folder of the release, or its file; {{port}} the instance's own
      # port. {{instance}} and {{version}} are filled in too.
      command: [{command}]
      instances: 2
      # (?) Where users connect. Airboss listens here and divides the requests.
      listen: {listen}
"
    );
    if detected.env.is_empty() {
        text += "      # Values of secrets never stand here: `env:NAME` or `file:PATH` say where they are.
      # env:
      #   LOG_LEVEL: info
      #   DATABASE_URL: env:CHECKOUT_DATABASE_URL
";
    } else {
        text += "      # Values of secrets never stand here: `env:NAME` or `file:PATH` say where they are.\n      env:\n";
        for (name, value) in &detected.env {
            let _ = writeln!(text, "        {}: {}", quoted(name), quoted(value));
        }
    }
    text += "      health:\n";
    let _ = match &detected.health {
        Some(path) => writeln!(
            text,
            "        http: {}     # (?) answers 2xx or 3xx when ready",
            quoted(path)
        ),
        None => writeln!(
            text,
            "        # http: /healthz   # answers 2xx or 3xx when ready; without it, an open port is enough"
        ),
    };
    text += "        ready_within: 10s
      drain: 10s            # time to finish open requests before an instance is stopped
      # sticky: { cookie: airboss_arm }   # keeps a user on one version

  # What users were promised. A release that breaks it is taken back.
  slos:
    - { name: availability, objective: 99.9%, bad: \"status >= 500\" }
    - { name: latency, objective: 99%, under: 500ms }

  # What each instance publishes on its page /metrics and no release may make worse. Also `events:`,
  # `rate:`, and `share:` or `mean:` with `of:` for counters.
  # guardrails:
  #   - { name: queue, gauge: queue_depth }

  rollout:
    # Also: `blue_green: { keep: 10m }` swaps everybody at once and keeps the old set,
    # `all_at_once: {}` replaces without a look back.
    canary:
      steps: [1%, 10%, 50%, 100%]   # share of requests; 0.01% is the smallest
      bake: auto                    # a step ends as soon as the evidence suffices
      at_most: 20m                  # and without enough evidence by then:
      then: hold                    # hold, promote or rollback
";
    text
}
