//! The airboss binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;

/// A controller makes and drops small values all the time: see decision 097.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    airboss_cli::app::run(airboss_cli::args::Cli::parse())
}
