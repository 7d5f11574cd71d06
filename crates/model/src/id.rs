//! Names and identities. All are readable at three in the morning and sort well.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name accepted for a service or an environment, in bytes (a DNS label).
pub const NAME_MAX: usize = 63;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` is not valid: {why}")]
pub struct InvalidId {
    /// What was being parsed, such as "service name".
    pub what: &'static str,
    /// The offending text.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

fn check_name(what: &'static str, text: &str) -> Result<(), InvalidId> {
    let fail = |why| {
        Err(InvalidId {
            what,
            text: text.to_owned(),
            why,
        })
    };
    if text.is_empty() {
        return fail("it is empty");
    }
    if text.len() > NAME_MAX {
        return fail("it is longer than 63 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return fail("use lowercase letters, digits and `-` only");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return fail("it must not start or end with `-`");
    }
    Ok(())
}

fn check_version(text: &str) -> Result<(), InvalidId> {
    let what = "version";
    let fail = |why| {
        Err(InvalidId {
            what,
            text: text.to_owned(),
            why,
        })
    };
    if text.is_empty() {
        return fail("it is empty");
    }
    if text.len() > 128 {
        return fail("it is longer than 128 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
    {
        return fail("use letters, digits and `. _ + -` only");
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A service's name: a DNS label such as `checkout`.
    #[derive(schemars::JsonSchema)]
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "examples" = ["checkout"]))]
    ServiceName
}
text_id! {
    /// An environment's name: a DNS label such as `production`.
    EnvironmentName
}
text_id! {
    /// One service in one environment, the unit that has one stable release, at most one
    /// rollout in progress and one queue. Written `checkout/production`.
    LaneId
}
text_id! {
    /// A release: a version of a service, pinned to a digest for good. Written `checkout@1.4.0`.
    ReleaseId
}
text_id! {
    /// One release going into one environment, numbered per service. Written `checkout-7`.
    RolloutId
}

impl FromStr for ServiceName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        check_name("service name", text)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for EnvironmentName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        check_name("environment name", text)?;
        Ok(Self(text.to_owned()))
    }
}

impl Default for EnvironmentName {
    /// `production`.
    fn default() -> Self {
        Self("production".to_owned())
    }
}

impl LaneId {
    /// What happens to the installation itself, and to no lane of it, is recorded under this name:
    /// keys, tokens, what was registered and removed. Nothing is ever shipped there.
    pub fn installation() -> Self {
        Self("airboss/installation".to_owned())
    }
    /// The lane of a service in an environment.
    pub fn new(service: &ServiceName, environment: &EnvironmentName) -> Self {
        Self(format!("{service}/{environment}"))
    }
    /// The part before the slash.
    pub fn service(&self) -> ServiceName {
        ServiceName(self.split().0.to_owned())
    }
    /// The part behind the slash.
    pub fn environment(&self) -> EnvironmentName {
        EnvironmentName(self.split().1.to_owned())
    }
    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, "production"))
    }
}

impl FromStr for LaneId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (service, environment) = text.split_once('/').ok_or_else(|| InvalidId {
            what: "lane",
            text: text.to_owned(),
            why: "write it as SERVICE/ENVIRONMENT",
        })?;
        Ok(Self::new(&service.parse()?, &environment.parse()?))
    }
}

impl ReleaseId {
    /// The release of a service under a version. Fails where the version is not valid.
    pub fn new(service: &ServiceName, version: &str) -> Result<Self, InvalidId> {
        check_version(version)?;
        Ok(Self(format!("{service}@{version}")))
    }
    /// The service, the part before `@`.
    pub fn service(&self) -> ServiceName {
        ServiceName(self.0.split('@').next().unwrap_or_default().to_owned())
    }
    /// The version, the part behind `@`.
    pub fn version(&self) -> &str {
        self.0
            .split_once('@')
            .map_or(self.0.as_str(), |(_, version)| version)
    }
}

impl FromStr for ReleaseId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (service, version) = text.split_once('@').ok_or_else(|| InvalidId {
            what: "release",
            text: text.to_owned(),
            why: "write it as SERVICE@VERSION",
        })?;
        Self::new(&service.parse()?, version)
    }
}

impl RolloutId {
    /// The `number`-th rollout of a service, counted from 1 over all its environments.
    pub fn new(service: &ServiceName, number: u64) -> Self {
        Self(format!("{service}-{number}"))
    }
    /// The service, the part before the last `-`.
    pub fn service(&self) -> ServiceName {
        ServiceName(
            self.0
                .rsplit_once('-')
                .map_or(self.0.as_str(), |(name, _)| name)
                .to_owned(),
        )
    }
}

impl FromStr for RolloutId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fail = || InvalidId {
            what: "rollout",
            text: text.to_owned(),
            why: "write it as SERVICE-NUMBER, as `airboss history` prints it",
        };
        let (service, number) = text.rsplit_once('-').ok_or_else(fail)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fail());
        }
        check_name("rollout", service)?;
        Ok(Self(text.to_owned()))
    }
}

/// An arm is the set of instances that one rollout brought up; it keeps its id when it is
/// promoted from canary to stable, so that nothing restarts.
pub type ArmId = RolloutId;

/// An artifact's identity: the SHA-256 of its content, written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps a SHA-256 value.
    pub const fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// The 64 hex digits without the `sha256:` in front, as used for file names.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
    /// `sha256:` and the first 12 hex digits, for people.
    pub fn short(&self) -> String {
        format!("sha256:{}", &self.hex()[..12])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}
impl TryFrom<String> for Digest {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl FromStr for Digest {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fail = |why| InvalidId {
            what: "digest",
            text: text.to_owned(),
            why,
        };
        let hex = text
            .strip_prefix("sha256:")
            .ok_or_else(|| fail("it must start with `sha256:`"))?;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fail("it must have 64 hex digits behind `sha256:`"));
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| fail("it is not ASCII"))?;
            *byte =
                u8::from_str_radix(pair, 16).map_err(|_| fail("it has a digit that is not hex"))?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_their_parts_back_out() {
        let lane: LaneId = "checkout-api/production".parse().unwrap();
        assert_eq!(lane.service().as_str(), "checkout-api");
        assert_eq!(lane.environment(), EnvironmentName::default());
        let release: ReleaseId = "checkout-api@1.4.0-rc.1+b7".parse().unwrap();
        assert_eq!(release.version(), "1.4.0-rc.1+b7");
        let rollout: RolloutId = "checkout-api-12".parse().unwrap();
        assert_eq!(rollout.service().as_str(), "checkout-api");
    }

    #[test]
    fn names_that_would_break_a_path_or_a_host_name_are_refused() {
        for bad in ["", "A", "a_b", "../x", "-a", "a-", "a/b", &"x".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
        for bad in ["checkout", "checkout@", "checkout@1/2", "checkout@../1"] {
            assert!(bad.parse::<ReleaseId>().is_err(), "{bad}");
        }
        assert!("checkout-".parse::<RolloutId>().is_err());
    }

    #[test]
    fn a_digest_reads_back_as_written() {
        let digest = Digest::from_sha256([0xab; 32]);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("sha256:xyz".parse::<Digest>().is_err());
    }
}
