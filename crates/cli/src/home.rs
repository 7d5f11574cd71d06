//! Finds the data folder, and in it the server's address and token.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The data folder's usual name.
pub const FOLDER: &str = ".airboss";
/// The file in the data folder that says where the server listens.
pub const SERVER_FILE: &str = "server.json";
/// The file in the data folder that holds the token, readable by its owner only.
pub const TOKEN_FILE: &str = "token";
/// The file in the data folder that holds the key that signs the log, readable by its owner only.
pub const LOG_KEY_FILE: &str = "log.key";
/// The file in the data folder that holds the public half of that key, to be kept elsewhere too.
pub const LOG_PUBLIC_KEY_FILE: &str = "log.vkey";

/// What a running server writes into [`SERVER_FILE`]. Unknown fields are left alone, so that an
/// older client reads a newer server's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFile {
    /// The address for clients, such as `http://127.0.0.1:7700`.
    pub url: String,
    /// Where it listens, which `url` need not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<std::net::SocketAddr>,
    /// Its process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The PEM file with the certificate that it shows, where it encrypts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// Why no server is known.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nothing was named and nothing was found.
    #[error(
        "no Airboss is running here: {} does not exist\n  \
         start one with `airboss up`, or name one with --server URL or $AIRBOSS_SERVER",
        file.display()
    )]
    NoServer {
        /// The file that a server would have written.
        file: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}\n  {next}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        next: &'static str,
    },
    /// A file is there and is not what it should be.
    #[error("{} is not a server's file: {why}\n  start the server again with `airboss up`", file.display())]
    Garbled {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A server and the right to talk to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address without a slash at the end.
    pub url: String,
    /// The token, where one is known.
    pub token: Option<String>,
    /// Where the token was found, for messages.
    pub token_from: Option<String>,
    /// The PEM file with the certificates to trust; the system's where there is none.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Server {
    /// Leaves the token out, so that it is in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("token_from", &self.token_from)
            .finish_non_exhaustive()
    }
}

/// Where to look: what the command line and the environment name.
#[derive(Clone, Default)]
pub struct Whereabouts {
    /// The data folder.
    pub home: PathBuf,
    /// `--server` or `$AIRBOSS_SERVER`.
    pub server: Option<String>,
    /// `$AIRBOSS_TOKEN`.
    pub token: Option<String>,
    /// `--ca` or `$AIRBOSS_CA`.
    pub ca: Option<PathBuf>,
}

/// The data folder: `named` (`$AIRBOSS_HOME`), else the nearest `.airboss` from `from` upward,
/// else `.airboss` in `from`.
pub fn folder(named: Option<&Path>, from: &Path) -> PathBuf {
    if let Some(named) = named.filter(|path| !path.as_os_str().is_empty()) {
        return from.join(named);
    }
    from.ancestors()
        .map(|folder| folder.join(FOLDER))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| from.join(FOLDER))
}

impl Whereabouts {
    /// From this process's environment, with what `--server` names.
    ///
    /// # Errors
    /// Where the working folder cannot be told.
    pub fn from_env(server: Option<String>, ca: Option<PathBuf>) -> io::Result<Self> {
        let named = std::env::var_os("AIRBOSS_HOME").map(PathBuf::from);
        Ok(Self {
            home: folder(named.as_deref(), &std::env::current_dir()?),
            server: server.filter(|text| !text.trim().is_empty()),
            token: std::env::var("AIRBOSS_TOKEN")
                .ok()
                .filter(|text| !text.trim().is_empty()),
            ca,
        })
    }

    /// The server to talk to. The data folder's token goes only to the server that wrote it
    /// there: one that is named by another address needs `$AIRBOSS_TOKEN`.
    ///
    /// # Errors
    /// Where no server is named and none has left its address, or its files cannot be read.
    pub fn server(&self) -> Result<Server, HomeError> {
        let local = self.server_file();
        let (url, local) = match &self.server {
            Some(named) => {
                let url = tidy(named);
                let same = local.ok().filter(|file| tidy(&file.url) == url);
                (url, same)
            }
            None => local.map(|file| (tidy(&file.url), Some(file)))?,
        };
        let (token, token_from) = if let Some(token) = &self.token {
            (
                Some(token.trim().to_owned()),
                Some("$AIRBOSS_TOKEN".to_owned()),
            )
        } else if local.is_some() {
            let file = self.home.join(TOKEN_FILE);
            let token = read_token(&file)?;
            let from = token.is_some().then(|| file.display().to_string());
            (token, from)
        } else {
            (None, None)
        };
        Ok(Server {
            url,
            token,
            token_from,
            ca: self.ca.clone().or(local.and_then(|file| file.ca)),
        })
    }

    fn server_file(&self) -> Result<ServerFile, HomeError> {
        let file = self.home.join(SERVER_FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::NoServer { file });
            }
            Err(source) => {
                return Err(HomeError::Unreadable {
                    file,
                    source,
                    next: "run this as the user who started the server, or name the server with --server",
                });
            }
        };
        serde_json::from_slice(&text).map_err(|error| HomeError::Garbled {
            file,
            why: error.to_string(),
        })
    }

    /// The token file where others than its owner may read it.
    pub fn exposed_token(&self) -> Option<PathBuf> {
        let file = self.home.join(TOKEN_FILE);
        let mode = fs::metadata(&file).ok()?.permissions().mode();
        (mode & 0o077 != 0).then_some(file)
    }
}

fn tidy(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

fn read_token(file: &Path) -> Result<Option<String>, HomeError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HomeError::Unreadable {
            file: file.to_owned(),
            source,
            next: "run this as the user who started the server, or set $AIRBOSS_TOKEN",
        }),
    }
}
