//! `airboss completions`.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::terminal::Console;

/// Prints a shell's completion script.
///
/// # Errors
/// Where the output is gone or full.
pub fn run(args: &CompletionsArgs, console: &mut Console) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "airboss", &mut script);
    console.text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
