use airboss_cli::args::Cli;
use clap::CommandFactory as _;

/// Verbs whose flags this crate's client side owns.
pub const CLIENT_VERBS: [&str; 22] = [
    "keys",
    "artifact",
    "record",
    "slo",
    "judge",
    "rehearse",
    "ship",
    "status",
    "watch",
    "history",
    "pause",
    "resume",
    "promote",
    "abort",
    "rollback",
    "explain",
    "logs",
    "token",
    "webhook",
    "doctor",
    "completions",
    "help",
];

#[test]
fn the_arguments_do_not_contradict_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_says_what_it_does_and_takes() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    for verb in CLIENT_VERBS.iter().filter(|verb| **verb != "help") {
        let command = cli.find_subcommand_mut(verb).unwrap();
        insta::assert_snapshot!(format!("help_{verb}"), command.render_long_help());
    }
}

#[test]
fn the_long_help_lists_verbs_exit_codes_and_environment() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    insta::assert_snapshot!("help", cli.render_long_help());
}

#[test]
fn every_shell_gets_a_script_that_knows_the_verbs() {
    use clap_complete::Shell;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "airboss", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(
            CLIENT_VERBS.iter().all(|verb| script.contains(verb)),
            "{shell}"
        );
    }
}
