//! One module a verb. Each has its arguments (`…Args`, for `clap`) and a plain function `run`
//! that gets its streams from the caller, so that it can be tested without a terminal.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use airboss_model::manifest;
use anyhow::Context as _;

use crate::exit::UsageError;

pub mod act;
pub mod agents;
pub mod artifact;
pub mod audit;
pub mod check;
pub mod completions;
mod context;
pub mod doctor;
pub mod explain;
pub mod history;
pub mod init;
pub mod judge;
pub mod keys;
pub mod logs;
pub mod record;
pub mod rehearse;
pub mod requires;
pub mod rollback;
pub mod schema;
pub mod ship;
pub mod slo;
pub mod source;
pub mod status;
pub mod store;
mod subject;
pub mod token;
pub mod trace;
pub mod watch;
pub mod webhook;

pub use context::Context;

/// The manifest's usual name.
pub const MANIFEST: &str = "airboss.yaml";

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The manifest's path: `file` itself, the usual name in it where it is a folder.
pub fn manifest_path(file: &Path) -> PathBuf {
    if file.is_dir() {
        file.join(MANIFEST)
    } else {
        file.to_owned()
    }
}

/// Requests a second, with or without `/s`.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches("/s");
    match number.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("write requests a second, such as 500/s".to_owned()),
    }
}

/// Reads the bytes of a manifest, one byte more than is allowed at most, so that too large a
/// file is refused with its own message. `-` reads `input`.
///
/// # Errors
/// Where the file is missing or cannot be read, with what to do.
pub fn read_manifest(path: &Path, input: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
    let limit = manifest::BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        input
            .take(limit)
            .read_to_end(&mut bytes)
            .context("cannot read the manifest from standard input")?;
        return Ok(bytes);
    }
    let file = File::open(path).with_context(|| {
        UsageError(format!(
            "cannot open the manifest {}; `airboss init` writes one, or name the file",
            path.display()
        ))
    })?;
    file.take(limit)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the manifest {}", path.display()))?;
    Ok(bytes)
}
