//! `airboss init`: a first manifest from what is in the folder.

use std::fs;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airboss_model::ServiceName;
use airboss_model::manifest::{self, Detected, SCHEMA_FILE};
use anyhow::Context as _;

use super::{MANIFEST, schema};
use crate::exit::{Exit, UsageError};

mod detect;

/// Looks at a folder and writes a commented `airboss.yaml`.
///
/// On a terminal it asks about its guesses; elsewhere it takes them. An existing manifest is
/// only replaced with `--force`.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// The folder of the service
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// The service's name; the guess comes from the folder's files
    #[arg(long)]
    pub name: Option<ServiceName>,
    /// The address that users connect to, HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Replace an existing manifest
    #[arg(long)]
    pub force: bool,
    /// Take all guesses, ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

/// True where a person sits at both ends, so that questions can be asked.
pub fn on_a_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Writes the manifest and its schema. Questions are only asked where `answers` is given;
/// callers give it where [`on_a_terminal`].
///
/// # Errors
/// Where the folder cannot be read or written.
pub fn run(
    args: &InitArgs,
    answers: Option<&mut dyn BufRead>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    // `./airboss.yaml` would say no more than `airboss.yaml`.
    let dir = args.dir.strip_prefix(".").unwrap_or(&args.dir);
    let path = dir.join(MANIFEST);
    // Before any question; the write below checks again.
    if !args.force && path.symlink_metadata().is_ok() {
        return refuse(&path, err);
    }
    let mut detected = detect::look(&args.dir).with_context(|| {
        UsageError(format!(
            "cannot look into the folder {}",
            args.dir.display()
        ))
    })?;
    if let Some(name) = &args.name {
        detected.name = name.clone();
    }
    if let Some(listen) = &args.listen {
        detected.listen.clone_from(listen);
    }
    if let Some(answers) = answers.filter(|_| !args.yes) {
        ask_all(&mut detected, answers, out)?;
    }
    let text = manifest::template(&detected);
    let findings = match manifest::parse(&path.display().to_string(), &text) {
        Ok(documents) => documents.into_iter().flat_map(|d| d.warnings).collect(),
        Err(findings) => findings,
    };
    let schema_path = dir.join(SCHEMA_FILE);
    if let Some(folder) = schema_path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    match write(&path, &text, args.force) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return refuse(&path, err),
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    }
    fs::write(&schema_path, schema::text()?)
        .with_context(|| format!("cannot write {}", schema_path.display()))?;
    writeln!(
        out,
        "Wrote {} for the service {}.",
        path.display(),
        detected.name
    )?;
    for finding in &findings {
        writeln!(err, "\n{finding}")?;
    }
    let shown = path.display();
    writeln!(
        out,
        "Look at the lines marked (?), then:\n  airboss check {shown}    # says what it means"
    )?;
    writeln!(
        out,
        "  airboss ship ./dist --version 1.0.0 --watch    # with `airboss up` running"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(path: &Path, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    writeln!(
        err,
        "{} exists and stays as it is; `--force` replaces it",
        path.display()
    )?;
    Ok(Exit::Usage.into())
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(force)
        .create_new(!force)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn ask_all(
    detected: &mut Detected,
    answers: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "Enter takes the guess in brackets.")?;
    loop {
        let name = ask("Name of the service", detected.name.as_str(), answers, out)?;
        match name.parse() {
            Ok(name) => {
                detected.name = name;
                break;
            }
            Err(error) => writeln!(out, "  {error}")?,
        }
    }
    let command = ask(
        "Command, words divided by spaces ({artifact}: what was shipped, {port}: its port)",
        &detected.command.join(" "),
        answers,
        out,
    )?;
    // A guess may hold words with spaces in them: it stays unless something else is written.
    if command != detected.command.join(" ") {
        detected.command = command.split_whitespace().map(str::to_owned).collect();
    }
    detected.listen = ask("Address for users", &detected.listen, answers, out)?;
    let guess = detected.health.as_deref().unwrap_or("none");
    let health = ask("Path of the health check", guess, answers, out)?;
    detected.health = Some(health).filter(|path| path != "none");
    Ok(())
}

/// Asks one question; nothing, or the end of the answers, takes the guess.
fn ask(
    question: &str,
    guess: &str,
    answers: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<String> {
    write!(out, "{question} [{guess}]: ")?;
    out.flush()?;
    let mut line = String::new();
    let read = answers
        .read_line(&mut line)
        .context("cannot read the answer")?;
    if read == 0 {
        // The answers have ended: no line break was typed.
        writeln!(out)?;
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { guess } else { answer }.to_owned())
}

#[cfg(test)]
mod tests;
