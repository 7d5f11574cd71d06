use airboss_cli::args::Cli;
use airboss_cli::exit::MEANINGS;
use clap::CommandFactory as _;

use crate::help::CLIENT_VERBS;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_has_every_verb_and_every_flag_of_the_client() {
    let page = page();
    let mut cli = Cli::command();
    cli.build();
    for verb in cli.get_subcommands() {
        let name = verb.get_name();
        if name == "help" {
            continue;
        }
        let start = page
            .find(&format!("### `airboss {name}"))
            .unwrap_or_else(|| panic!("docs/cli.md says nothing of `airboss {name}`"));
        if !CLIENT_VERBS.contains(&name) {
            continue;
        }
        let section = &page[start..];
        let section = section[4..].split("\n### ").next().unwrap();
        for flag in verb.get_arguments().filter(|arg| !arg.is_global_set()) {
            let Some(long) = flag.get_long().filter(|long| *long != "help") else {
                continue;
            };
            assert!(
                section.contains(&format!("`--{long}")),
                "docs/cli.md: `airboss {name}` misses --{long}"
            );
        }
    }
}

#[test]
fn the_page_names_no_verb_that_is_not_there() {
    let mut cli = Cli::command();
    cli.build();
    for line in page().lines() {
        let Some(rest) = line.strip_prefix("### `airboss ") else {
            continue;
        };
        let verb = rest.split([' ', '`']).next().unwrap();
        assert!(cli.find_subcommand(verb).is_some(), "{line}");
    }
}

#[test]
fn the_page_lists_the_exit_codes_as_the_program_does() {
    let page = page();
    for (exit, meaning) in MEANINGS {
        let row = format!("| {} | {meaning} |", exit as u8);
        assert!(page.contains(&row), "docs/cli.md misses: {row}");
    }
}
