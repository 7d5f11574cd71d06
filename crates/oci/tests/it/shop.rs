//! What the tests put into the registry and take out again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use airboss_oci::{Credentials, OciError, Pinned, Platform, Pulled, Registry, Source};
use serde_json::Value;
use tempfile::TempDir;
use xtask::registry::{self, GZIP, Layout};

pub fn linux(architecture: &str) -> Platform {
    format!("linux/{architecture}").parse().unwrap()
}

pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let files: BTreeMap<&str, &[u8]> = files.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
    registry::tar(&files).unwrap()
}

/// A compressed layer of these files.
pub fn layer(layout: &Layout, files: &[(&str, &str)]) -> Value {
    let bytes = registry::gzip(&archive(files)).unwrap();
    layout.blob(GZIP, &bytes).unwrap()
}

/// An image of one layer with one file; its digest.
pub fn image(layout: &Layout, content: &str) -> String {
    let layer = layer(layout, &[("app", content)]);
    let image = layout.image("linux/amd64", &[layer]).unwrap();
    layout.top(&image).unwrap()
}

pub fn open(reference: &str) -> Registry {
    Registry::new(reference.parse().unwrap(), &Credentials::DockerConfig).unwrap()
}

pub struct Taken {
    pub pinned: Pinned,
    pub pulled: Pulled,
    pub folder: TempDir,
}

impl Taken {
    /// Files by path, links with an arrow.
    pub fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        look(self.folder.path(), "", &mut tree);
        tree
    }
}

fn look(at: &Path, prefix: &str, tree: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(at).unwrap() {
        let path = item.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            look(&path, &format!("{name}/"), tree);
        } else {
            tree.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// Resolves and fetches, as `airboss ship` does on an amd64 machine.
pub async fn take(reference: &str) -> Result<Taken, OciError> {
    take_for(reference, "amd64", &Credentials::DockerConfig).await
}

pub async fn take_for(
    reference: &str,
    architecture: &str,
    credentials: &Credentials,
) -> Result<Taken, OciError> {
    let source: Source = reference.parse()?;
    let registry = Registry::new(source, credentials)?;
    let platform = linux(architecture);
    let pinned = registry.resolve(&platform).await?;
    let folder = tempfile::tempdir().unwrap();
    let pulled = registry.pull(&pinned, &platform, folder.path()).await?;
    Ok(Taken {
        pinned,
        pulled,
        folder,
    })
}
