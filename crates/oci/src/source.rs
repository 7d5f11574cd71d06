//! What a person names: a reference and a platform.

use std::fmt;
use std::str::FromStr;

use airboss_model::Digest;
use oci_client::Reference;

use crate::OciError;

/// What a reference on a command line begins with.
const SCHEME: &str = "oci://";

/// A reference such as `oci://ghcr.io/acme/shop:1.4.0` or `oci://ghcr.io/acme/shop@sha256:ab…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(crate) reference: Reference,
}

impl Source {
    /// True where a text is meant as a reference and not as a path.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Registry and repository, such as `ghcr.io/acme/shop`.
    pub fn repository(&self) -> String {
        format!(
            "{}/{}",
            self.reference.registry(),
            self.reference.repository()
        )
    }

    /// The registry's host, with its port where it has one.
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// The tag, where one was named. With a digest beside it, the digest counts.
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// The digest, where one was named.
    pub fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }
}

impl FromStr for Source {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, OciError> {
        let refuse = |why: String| OciError::Reference {
            text: text.to_owned(),
            why,
        };
        let bare = text.strip_prefix(SCHEME).unwrap_or(text);
        let reference: Reference = bare
            .parse()
            .map_err(|error: oci_client::ParseError| refuse(error.to_string()))?;
        if let Some(digest) = reference.digest() {
            digest.parse::<Digest>().map_err(|_| {
                refuse("only digests of the form sha256: and 64 hex digits are accepted".to_owned())
            })?;
        }
        Ok(Self { reference })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest() {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// An operating system and a processor, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// As Go names it: `linux`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Such as `v7`; None takes any.
    pub variant: Option<String>,
}

impl Platform {
    /// The one that this program was built for.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// True where what is asked for is what is offered.
    pub(crate) fn takes(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && self
                .variant
                .as_ref()
                .is_none_or(|variant| offered.variant.as_ref() == Some(variant))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture] | [os, architecture, _]
                if parts.iter().all(|part| !part.is_empty()) =>
            {
                Ok(Self {
                    os: (*os).to_owned(),
                    architecture: (*architecture).to_owned(),
                    variant: parts.get(2).map(|variant| (*variant).to_owned()),
                })
            }
            _ => Err("a platform is written like linux/amd64 or linux/arm/v7".to_owned()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Platform, Source};

    #[test]
    fn a_reference_says_registry_repository_tag_and_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let cases = [
            (
                "oci://127.0.0.1:5000/shop:1.4.0",
                "127.0.0.1:5000/shop:1.4.0",
            ),
            ("oci://ghcr.io/acme/shop", "ghcr.io/acme/shop:latest"),
            ("oci://nginx:1.27", "docker.io/library/nginx:1.27"),
        ];
        for (text, meant) in cases {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), meant);
        }
        let pinned: Source = format!("oci://ghcr.io/acme/shop@{digest}").parse().unwrap();
        assert_eq!(pinned.digest(), Some(digest.as_str()));
        assert_eq!(pinned.tag(), None);
        for wrong in [
            "oci://",
            "oci://ghcr.io/Acme/shop",
            "oci://ghcr.io/a@sha256:12",
        ] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_platform_without_a_variant_takes_any_variant() {
        let wanted: Platform = "linux/arm".parse().unwrap();
        assert!(wanted.takes(&"linux/arm/v7".parse().unwrap()));
        assert!(!wanted.takes(&"linux/arm64".parse().unwrap()));
        let exact: Platform = "linux/arm/v6".parse().unwrap();
        assert!(!exact.takes(&"linux/arm/v7".parse().unwrap()));
        for wrong in ["linux", "linux/", "a/b/c/d", ""] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
