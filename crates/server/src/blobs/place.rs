//! Where archives lie.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airboss_targets::secret;
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, RetryConfig, path::Path as Key};

/// How often a request to a bucket is repeated.
const RETRIES: usize = 3;
/// How long a request to a bucket may take with its repetitions.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder or a bucket.
#[derive(Debug)]
pub(super) struct Place {
    pub store: Arc<dyn ObjectStore>,
    pub prefix: Key,
    /// For people.
    pub name: String,
    /// Where it is a folder of this machine.
    pub folder: Option<PathBuf>,
}

/// Why archives cannot be kept where they are to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The URL is not understood.
    #[error(
        "`{url}` is no place for artifacts: {why}\n  \
         write s3://BUCKET/PREFIX, with ?endpoint=URL for a server that is not Amazon's; keys come from \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from ?access_key=env:NAME&secret_key=file:PATH"
    )]
    Url {
        /// What was written, without what stands behind `?`.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder cannot be used.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Place {
    pub fn folder(folder: PathBuf) -> Result<Self, PlaceError> {
        let store =
            LocalFileSystem::new_with_prefix(&folder).map_err(|error| PlaceError::Folder {
                path: folder.display().to_string(),
                source: error.into(),
            })?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Key::default(),
            name: folder.display().to_string(),
            folder: Some(folder),
        })
    }

    pub fn url(url: &str) -> Result<Self, PlaceError> {
        let (plain, query) = url.split_once('?').unwrap_or((url, ""));
        let refuse = |why: String| PlaceError::Url {
            url: plain.to_owned(),
            why,
        };
        let Some(rest) = plain.strip_prefix("s3://") else {
            return Err(refuse("it does not begin with s3://".to_owned()));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse("it names no bucket".to_owned()));
        }
        let prefix = Key::parse(prefix).map_err(|error| refuse(error.to_string()))?;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                max_retries: RETRIES,
                retry_timeout: PATIENCE,
                ..RetryConfig::default()
            });
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            builder = match name {
                "endpoint" => builder
                    .with_endpoint(value.trim_end_matches('/'))
                    .with_allow_http(value.starts_with("http://")),
                "region" => builder.with_region(value),
                "access_key" => builder.with_access_key_id(secret::read(value).map_err(&refuse)?),
                "secret_key" => {
                    builder.with_secret_access_key(secret::read(value).map_err(&refuse)?)
                }
                other => {
                    return Err(refuse(format!(
                        "`{other}` is not known; there are endpoint, region, access_key and secret_key"
                    )));
                }
            };
        }
        let store = builder.build().map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            store: Arc::new(store),
            prefix,
            name: plain.to_owned(),
            folder: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_that_cannot_be_is_refused_without_showing_a_secret() {
        let cases = [
            ("gs://bucket", "s3://"),
            ("s3:///prefix", "no bucket"),
            ("s3://bucket?colour=red", "`colour` is not known"),
            ("s3://bucket?secret_key=hunter2", "never written out"),
            (
                "s3://bucket?access_key=env:AIRBOSS_NO_SUCH_VARIABLE",
                "has no readable",
            ),
        ];
        for (url, why) in cases {
            let error = Place::url(url).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_place_is_named_without_what_stands_behind_it() {
        let place = Place::url("s3://bucket/a/b?endpoint=http://127.0.0.1:9&region=eu-1").unwrap();
        assert_eq!(place.name, "s3://bucket/a/b");
        assert_eq!(place.prefix.as_ref(), "a/b");
    }
}
