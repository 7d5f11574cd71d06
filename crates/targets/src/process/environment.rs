//! The environment of an instance: whose release it is, for the app and for its telemetry.

use std::collections::BTreeMap;
use std::path::Path;

use airboss_model::LaneId;
use airboss_model::target::DesiredArm;

use crate::secret;

/// Percent-encodes what may not stand in a value of `OTEL_RESOURCE_ATTRIBUTES`.
///
/// Source: OpenTelemetry specification, "Resource SDK, specifying resource information via an
/// environment variable": W3C Baggage octets; `,` and `=` and anything outside must be encoded.
pub(super) fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:+".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Resolves a value of the manifest: `env:NAME` is the agent's variable, `file:PATH` the file's
/// content without its last line end; everything else is literal. The error names the reference,
/// never a value.
fn resolve(name: &str, value: &str) -> Result<String, String> {
    if !secret::is_reference(value) {
        return Ok(value.to_owned());
    }
    secret::read(value).map_err(|why| {
        let set = if value.starts_with("env:") {
            "; set it where the agent is started"
        } else {
            ""
        };
        format!("environment `{name}` refers to `{value}`, which cannot be read: {why}{set}")
    })
}

/// What an instance is told about itself.
pub(super) struct Identity<'a> {
    pub lane: &'a LaneId,
    pub arm: &'a DesiredArm,
    pub instance: &'a str,
    pub port: u16,
    /// A folder of the instance's own; the artifact must stay as it was shipped.
    pub work: &'a Path,
}

impl Identity<'_> {
    /// The variables to set on top of what is inherited. Those that tag the release win over
    /// the manifest's; attributes of the manifest stay in front of ours.
    pub fn variables(&self) -> Result<BTreeMap<String, String>, String> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.arm.process.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("environment `{name}` is not a valid variable"));
            }
            all.insert(name.clone(), resolve(name, value)?);
        }
        let release = &self.arm.release;
        let (service, environment) = (self.lane.service(), self.lane.environment());
        let ours = [
            ("service.name", service.as_str()),
            ("service.version", release.version()),
            ("service.instance.id", self.instance),
            ("deployment.id", self.arm.arm.as_str()),
            ("deployment.environment.name", environment.as_str()),
            ("airboss.release.id", release.as_str()),
        ];
        let given = all.get("OTEL_RESOURCE_ATTRIBUTES").cloned();
        let attributes: Vec<String> = given
            .iter()
            .flat_map(|given| given.split(','))
            .map(str::trim)
            .filter(|pair| {
                let key = pair.split('=').next().unwrap_or_default().trim();
                !pair.is_empty() && !ours.iter().any(|(own, _)| *own == key)
            })
            .map(str::to_owned)
            .chain(
                ours.iter()
                    .map(|(key, value)| format!("{key}={}", percent(value))),
            )
            .collect();
        let port = self.port.to_string();
        for (name, value) in [
            ("AIRBOSS_RELEASE_ID", release.as_str()),
            ("AIRBOSS_ROLLOUT_ID", self.arm.arm.as_str()),
            ("AIRBOSS_INSTANCE", self.instance),
            ("AIRBOSS_VERSION", release.version()),
            ("AIRBOSS_WORK_DIR", &self.work.to_string_lossy()),
            ("PORT", &port),
            ("OTEL_RESOURCE_ATTRIBUTES", &attributes.join(",")),
        ] {
            all.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in [
            ("OTEL_SERVICE_NAME", service.as_str()),
            // An interpreter's cache would be a change to the artifact.
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ] {
            all.entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_never_reach_an_attribute_value() {
        assert_eq!(percent("a,b=c d;%é"), "a%2Cb%3Dc%20d%3B%25%C3%A9");
        assert_eq!(percent("checkout@1.4.0+b-1"), "checkout@1.4.0+b-1");
    }

    #[test]
    fn a_missing_secret_is_named_by_its_reference() {
        let error = resolve("KEY", "env:AIRBOSS_NO_SUCH_VARIABLE").unwrap_err();
        assert!(error.contains("`env:AIRBOSS_NO_SUCH_VARIABLE`"), "{error}");
        assert!(resolve("KEY", "file:/no/such/file").is_err());
        assert_eq!(resolve("KEY", "plain").unwrap(), "plain");
    }
}
