//! Who asks the registry.

use std::path::Path;

use airboss_targets::secret;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use oci_client::secrets::RegistryAuth;

use crate::OciError;

/// Where the credentials for a registry are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The Docker config file (`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`): its
    /// `credHelpers`, `auths` and `credsStore`; without an entry, nobody.
    DockerConfig,
    /// A secret reference, `env:NAME` or `file:PATH`, to `user:password`.
    Secret(String),
}

/// Docker's name for its own registry in config files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What registries expect as the user where the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Credentials as the client takes them, and who that is, for messages.
pub(crate) struct Shown {
    pub auth: RegistryAuth,
    pub as_whom: String,
}

impl Credentials {
    /// Reads them. Asking a credential helper may block for as long as that takes.
    pub(crate) fn read(&self, registry: &str) -> Result<Shown, OciError> {
        let fail = |why: String| OciError::Credentials {
            registry: registry.to_owned(),
            why,
        };
        match self {
            Self::Secret(reference) => {
                let text = secret::read(reference).map_err(fail)?;
                let (user, password) = text
                    .split_once(':')
                    .ok_or_else(|| fail(format!("{reference} does not hold user:password")))?;
                Ok(Shown {
                    auth: RegistryAuth::Basic(user.to_owned(), password.to_owned()),
                    as_whom: format!("to the user `{user}` of {reference}"),
                })
            }
            Self::DockerConfig => {
                let key = if registry == "docker.io" {
                    DOCKER_HUB
                } else {
                    registry
                };
                let (user, password) = match get_credential(key) {
                    Ok(DockerCredential::UsernamePassword(user, password)) => (user, password),
                    Ok(DockerCredential::IdentityToken(token)) => (TOKEN_USER.to_owned(), token),
                    Err(
                        CredentialRetrievalError::NoCredentialConfigured
                        | CredentialRetrievalError::ConfigNotFound,
                    ) => return Ok(nobody()),
                    // The library does not tell a file that is missing from one that is broken.
                    Err(CredentialRetrievalError::ConfigReadError) if !config_exists() => {
                        return Ok(nobody());
                    }
                    Err(CredentialRetrievalError::HelperFailure {
                        helper,
                        stdout,
                        stderr,
                    }) => {
                        let said = format!("{stdout}{stderr}");
                        // What a helper says where it knows nothing of this registry.
                        if said.contains("credentials not found") {
                            return Ok(nobody());
                        }
                        return Err(fail(format!("{helper} failed: {}", said.trim())));
                    }
                    Err(error) => {
                        return Err(fail(format!("the Docker config file: {error}")));
                    }
                };
                Ok(Shown {
                    as_whom: format!("to the user `{user}` of the Docker config file"),
                    auth: RegistryAuth::Basic(user, password),
                })
            }
        }
    }
}

fn nobody() -> Shown {
    Shown {
        auth: RegistryAuth::Anonymous,
        as_whom: "without credentials (the Docker config file has none for it)".to_owned(),
    }
}

fn config_exists() -> bool {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(std::path::PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".docker"))
        });
    folder.is_some_and(|folder| folder.join("config.json").exists())
}
