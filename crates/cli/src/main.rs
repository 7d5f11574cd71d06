//! The airboss binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    airboss_cli::app::run(airboss_cli::args::Cli::parse())
}
