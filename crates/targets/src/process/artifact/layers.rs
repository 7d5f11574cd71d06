//! Lays the layers of an image one over the other into a folder, as the OCI image specification
//! says: whiteouts take away what layers below brought, links are followed within the folder.
//!
//! While layers come, the folder holds files and folders alone, and where each path leads is told
//! by the tree in memory: no link of an image can lead a write out of it. Links are made at the
//! end, each relative to its place, so that the tree works wherever it lies.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::entries::{Item, Kind, each, plain, refused};
use super::expand::{Compression, expand};
use super::hashing::pour;
use super::{ArtifactError, MAX_BYTES, MAX_ENTRIES, too_big};

/// Most links that one path may go through; what Linux follows.
const MAX_HOPS: u32 = 40;
/// What a whiteout's name begins with.
const WHITEOUT: &str = ".wh.";
/// The name of the whiteout of everything that layers below have in a folder.
const OPAQUE: &str = ".wh..wh..opq";

/// Layers on their way into a folder.
pub struct Layers {
    root: PathBuf,
    nodes: BTreeMap<String, Node>,
    /// The layer that is laid, from 1.
    layer: usize,
    bytes: u64,
    entries: usize,
    privileged: u64,
}

/// What layers became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, folders and links.
    pub entries: usize,
    /// Files that asked to run as their owner (setuid, setgid); they were kept without that.
    pub privileged: u64,
}

struct Node {
    /// The layer that brought it last.
    layer: usize,
    kind: NodeKind,
}

#[derive(PartialEq)]
enum NodeKind {
    Folder,
    File { size: u64 },
    Link { target: String },
}

impl Layers {
    /// Begins with an empty folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            nodes: BTreeMap::new(),
            layer: 0,
            bytes: 0,
            entries: 0,
            privileged: 0,
        }
    }

    /// Lays one more layer over those before it. It blocks.
    ///
    /// # Errors
    /// Where it holds what nothing that is shipped may hold, is above a limit, or is no archive;
    /// and where the disk fails. The folder is of no use then.
    pub fn lay(&mut self, layer: impl Read, compression: Compression) -> Result<(), ArtifactError> {
        self.layer += 1;
        each(expand(layer, compression), |item, content| {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ArtifactError::NotAccepted {
                    why: format!("its layers have more than {MAX_ENTRIES} entries"),
                });
            }
            self.take(item, content)
        })?;
        Ok(())
    }

    /// Puts a single file at `path`; programs and scripts become executable.
    ///
    /// # Errors
    /// As [`Self::lay`].
    pub fn put(
        &mut self,
        path: &str,
        mut content: impl Read,
        size: u64,
    ) -> Result<(), ArtifactError> {
        let path = plain(Path::new(path))
            .filter(|plain| !plain.is_empty())
            .ok_or_else(|| {
                refused(
                    path,
                    "leaves the folder: `..` and absolute paths are not accepted",
                )
            })?;
        self.layer += 1;
        let item = Item {
            written: path.clone(),
            path,
            kind: Kind::File {
                size,
                executable: false,
                privileged: false,
            },
        };
        self.take(&item, &mut content)?;
        let at = self.root.join(&item.path);
        let mut start = Vec::new();
        File::open(&at)
            .and_then(|file| file.take(4).read_to_end(&mut start))
            .map_err(ArtifactError::io("read", &at))?;
        // Registries keep no modes.
        if start.starts_with(b"\x7fELF") || start.starts_with(b"#!") {
            fs::set_permissions(&at, Permissions::from_mode(0o755))
                .map_err(ArtifactError::io("change the mode of", &at))?;
        }
        Ok(())
    }

    fn take(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), ArtifactError> {
        if item.path.is_empty() {
            return Ok(());
        }
        let (parent, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            // Other names with two of them are notes of old storage drivers.
            let all = name == OPAQUE;
            if all || !hidden.starts_with(WHITEOUT) && !hidden.is_empty() {
                let parent = self.find(item, parent, false)?;
                let gone = if all { parent } else { join(&parent, hidden) };
                self.remove_below(&gone, all)?;
            }
            return Ok(());
        }
        let parent = self.find(item, parent, true)?;
        let path = join(&parent, name);
        match self.nodes.get_mut(&path) {
            Some(node) if node.kind == NodeKind::Folder && matches!(item.kind, Kind::Folder) => {
                node.layer = self.layer;
                return Ok(());
            }
            Some(node) if node.layer == self.layer => return Err(item.refuse("is named twice")),
            Some(_) => {
                self.remove_below(&path, false)?;
                if self.nodes.contains_key(&path) {
                    return Err(
                        item.refuse("takes the place of a folder that the same layer fills")
                    );
                }
            }
            None => {}
        }
        let at = self.root.join(&path);
        let kind = match &item.kind {
            Kind::Folder => {
                fs::create_dir(&at).map_err(ArtifactError::io("create", &at))?;
                NodeKind::Folder
            }
            Kind::File {
                size,
                executable,
                privileged,
            } => {
                self.privileged += u64::from(*privileged);
                self.grow(*size)?;
                let mut file = File::create_new(&at).map_err(ArtifactError::io("create", &at))?;
                pour(content, *size, &mut file, &at)?;
                file.flush().map_err(ArtifactError::io("write", &at))?;
                let mode = if *executable { 0o755 } else { 0o644 };
                file.set_permissions(Permissions::from_mode(mode))
                    .map_err(ArtifactError::io("change the mode of", &at))?;
                NodeKind::File { size: *size }
            }
            Kind::Link(target) if target.is_empty() => {
                return Err(item.refuse("is a link to nothing"));
            }
            Kind::Link(target) => NodeKind::Link {
                target: target.clone(),
            },
            Kind::HardLink(target) => {
                let (folder, name) = target.rsplit_once('/').unwrap_or(("", target));
                let folder = self.find(item, folder, false)?;
                let target = join(&folder, name);
                match self.nodes.get(&target).map(|node| &node.kind) {
                    Some(NodeKind::File { size }) => {
                        let size = *size;
                        self.grow(size)?;
                        let from = self.root.join(&target);
                        fs::hard_link(&from, &at).map_err(ArtifactError::io("link", &at))?;
                        NodeKind::File { size }
                    }
                    Some(NodeKind::Link { target }) => NodeKind::Link {
                        target: target.clone(),
                    },
                    _ => {
                        return Err(item.refuse(format!(
                            "is a hard link to `{target}`, which is no file here"
                        )));
                    }
                }
            }
        };
        let layer = self.layer;
        self.nodes.insert(path, Node { layer, kind });
        Ok(())
    }

    /// What is unpacked is bounded over all layers, as is what another name of a file will take
    /// once it is packed.
    fn grow(&mut self, by: u64) -> Result<(), ArtifactError> {
        self.bytes = self.bytes.saturating_add(by);
        if self.bytes > MAX_BYTES {
            return Err(too_big());
        }
        Ok(())
    }

    /// Where `path` leads, links followed within the folder, which is `/` to them. Folders that
    /// are missing are made where `make` says so.
    fn find(&mut self, item: &Item, path: &str, make: bool) -> Result<String, ArtifactError> {
        let layer = self.layer;
        let mut missing = Vec::new();
        let found = walk(&self.nodes, path, |here| missing.push(here.to_owned()))
            .map_err(|why| item.refuse(why))?;
        for folder in missing.iter().filter(|_| make) {
            if self.nodes.contains_key(folder) {
                continue;
            }
            self.entries += 1;
            let at = self.root.join(folder);
            fs::create_dir(&at).map_err(ArtifactError::io("create", &at))?;
            let kind = NodeKind::Folder;
            self.nodes.insert(folder.clone(), Node { layer, kind });
        }
        Ok(found)
    }

    /// Takes away what layers below brought at and below `path`; with `content_only` the folder
    /// itself stays.
    fn remove_below(&mut self, path: &str, content_only: bool) -> Result<(), ArtifactError> {
        let below = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let inside = self
            .nodes
            .range(below.clone()..)
            .take_while(|(at, _)| at.starts_with(&below));
        let old = |node: &Node| node.layer < self.layer;
        let mut gone: Vec<String> = inside
            .filter(|(_, node)| old(node))
            .map(|(at, _)| at.clone())
            .collect();
        if !content_only && self.nodes.get(path).is_some_and(old) {
            gone.push(path.to_owned());
        }
        // The deepest first, so that a folder that this layer has put something into stays.
        gone.sort_unstable_by(|a, b| b.cmp(a));
        for path in gone {
            let at = self.root.join(&path);
            let below = format!("{path}/");
            let kept = self
                .nodes
                .range(below.clone()..)
                .next()
                .is_some_and(|(at, _)| at.starts_with(&below));
            if kept {
                continue;
            }
            match self.nodes.remove(&path).map(|node| node.kind) {
                Some(NodeKind::Folder) => {
                    fs::remove_dir(&at).map_err(ArtifactError::io("remove", &at))?;
                }
                Some(NodeKind::File { size }) => {
                    fs::remove_file(&at).map_err(ArtifactError::io("remove", &at))?;
                    self.bytes = self.bytes.saturating_sub(size);
                }
                Some(NodeKind::Link { .. }) | None => {}
            }
        }
        Ok(())
    }

    /// Makes the links; the folder is complete then.
    ///
    /// # Errors
    /// Where the disk fails, or nothing was there.
    pub fn finish(self) -> Result<Unpacked, ArtifactError> {
        if self.nodes.is_empty() {
            return Err(ArtifactError::NotAccepted {
                why: "it is empty".to_owned(),
            });
        }
        for (path, node) in &self.nodes {
            let NodeKind::Link { target } = &node.kind else {
                continue;
            };
            let at = self.root.join(path);
            symlink(self.relative(path, target), &at).map_err(ArtifactError::io("create", &at))?;
        }
        Ok(Unpacked {
            entries: self.nodes.len(),
            privileged: self.privileged,
        })
    }

    /// The target of a link, told from its place.
    fn relative(&self, path: &str, target: &str) -> String {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let whole = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{folder}/{target}")
        };
        let whole = whole.trim_end_matches('/');
        let (front, last) = whole.rsplit_once('/').unwrap_or(("", whole));
        // A link to the folder above itself, or around in circles, stays what it is: inside.
        let (front, last) = if matches!(last, "" | "." | "..") {
            (whole, "")
        } else {
            (front, last)
        };
        let front = walk(&self.nodes, front, |_| {}).unwrap_or_default();
        let leads_to = join(&front, last);
        let up = if folder.is_empty() {
            0
        } else {
            folder.split('/').count()
        };
        let text = format!("{}{leads_to}", "../".repeat(up));
        match text.trim_end_matches('/') {
            "" => ".".to_owned(),
            text => text.to_owned(),
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

/// Where a path leads in the tree, as a process sees it whose `/` is the folder. `missing` hears
/// of every path on the way that is not there.
fn walk(
    nodes: &BTreeMap<String, Node>,
    path: &str,
    mut missing: impl FnMut(&str),
) -> Result<String, String> {
    let mut left: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let mut here: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(name) = left.pop_front() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                here.pop();
                continue;
            }
            _ => here.push(name),
        }
        let at = here.join("/");
        match nodes.get(&at).map(|node| &node.kind) {
            Some(NodeKind::Folder) => {}
            Some(NodeKind::File { .. }) => {
                return Err(format!("lies below `{at}`, which is no folder"));
            }
            Some(NodeKind::Link { target }) => {
                hops += 1;
                if hops > MAX_HOPS {
                    return Err(format!("goes through more than {MAX_HOPS} links"));
                }
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                for part in target.split('/').rev() {
                    left.push_front(part.to_owned());
                }
            }
            None => missing(&at),
        }
    }
    Ok(here.join("/"))
}
