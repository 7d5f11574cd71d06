//! `airboss schema`: the JSON Schema of the manifest, for editors and other checks.

use std::io::Write;
use std::process::ExitCode;

use airboss_model::manifest;

/// Prints the JSON Schema of the manifest.
///
/// `airboss init` writes it beside the manifest for editors; a CI can check with it where
/// Airboss is not installed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SchemaArgs {}

/// Prints the schema to `out`.
///
/// # Errors
/// Where `out` cannot be written to.
pub fn run(_args: &SchemaArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    out.write_all(text()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The schema as the text of a file.
pub(super) fn text() -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&manifest::schema())? + "\n")
}
