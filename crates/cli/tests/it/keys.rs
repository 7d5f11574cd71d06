//! `airboss keys` on a data folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, None)
    }

    fn run_with(&self, args: &[&str], passphrase: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airboss"));
        command
            .arg("keys")
            .args(args)
            .env("AIRBOSS_HOME", self.path())
            .env_remove("AIRBOSS_KEY_PASSPHRASE")
            .current_dir(self.path());
        if let Some(passphrase) = passphrase {
            command
                .env("AIRBOSS_KEY_PASSPHRASE", "env:PASS")
                .env("PASS", passphrase);
        }
        command.output().unwrap()
    }

    /// What a run said; it must have ended with this code.
    fn says(&self, args: &[&str], code: i32) -> String {
        said(&self.run(args), code)
    }

    /// Everything in the folder's private files.
    fn secrets(&self) -> String {
        let files = fs::read_dir(self.path().join("keys")).unwrap();
        let read = |it: std::io::Result<fs::DirEntry>| {
            let path = it.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
            fs::read_to_string(path).unwrap()
        };
        files.map(read).collect()
    }
}

fn said(output: &Output, code: i32) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn a_key_is_made_listed_rotated_and_its_private_half_never_printed() {
    let home = Home::new();
    let mut printed = home.says(&["new"], 0);
    assert!(
        printed.contains("`airboss-1` signs from now on"),
        "{printed}"
    );
    assert!(printed.contains("not sealed"), "{printed}");
    let first = home.says(&["export"], 0);
    assert!(first.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{first}");
    assert!(home.says(&["new"], 2).contains("airboss keys rotate"));
    printed += &home.says(&["rotate", "--expires", "365d"], 0);
    let listed = home.says(&["list"], 0);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "airboss signs with");
    assert!(lines[1].starts_with("  airboss-1 ") && lines[2].starts_with("  airboss-2 "));
    printed += &listed;
    printed += &home.says(&["list", "--output", "json"], 0);
    assert!(
        printed.contains("airboss-1") && printed.contains("ended"),
        "{printed}"
    );
    assert_ne!(home.says(&["export"], 0), first);
    assert_eq!(home.says(&["export", "airboss-1"], 0), first);
    for line in home
        .secrets()
        .lines()
        .filter(|line| !line.contains("-----"))
    {
        assert!(!printed.contains(line));
    }
}

#[test]
fn a_passphrase_seals_what_lay_open_and_is_needed_from_then_on() {
    let home = Home::new();
    home.says(&["new"], 0);
    assert!(home.secrets().contains("PRIVATE KEY"));
    assert!(home.says(&["seal"], 2).contains("AIRBOSS_KEY_PASSPHRASE"));
    let sealed = home.run_with(&["seal"], Some("open, sesame"));
    assert!(said(&sealed, 0).contains("1 private key was sealed"));
    assert!(!home.secrets().contains("PRIVATE KEY"));
    assert!(home.says(&["list"], 0).contains("sealed"));
    let again = home.run_with(&["seal"], Some("open, sesame"));
    assert!(said(&again, 0).contains("sealed already"));
}

#[test]
fn a_key_may_be_a_reference_to_a_secret_elsewhere() {
    let home = Home::new();
    let file = home.path().join("signing.pem");
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n";
    fs::write(&file, pem).unwrap();
    let reference = format!("file:{}", file.display());
    home.says(&["new", "--secret", &reference], 0);
    assert!(!home.path().join("keys").exists());
    assert!(home.says(&["list"], 0).contains("kept elsewhere"));
    fs::write(&file, KEY).unwrap();
    let refused = home.says(&["rotate", "--secret", &reference], 1);
    assert!(refused.contains("openssl genpkey"), "{refused}");
    assert!(
        home.says(&["rotate", "--secret", "vault:x"], 1)
            .contains("env:NAME or file:PATH")
    );
}

#[test]
fn others_are_believed_and_revoked_by_name() {
    let home = Home::new();
    fs::write(home.path().join("ci.pub"), KEY).unwrap();
    let trusted = home.says(&["trust", "add", "ci", "--key", "ci.pub"], 0);
    assert!(trusted.contains("`ci` is believed: Ed25519 "), "{trusted}");
    assert!(
        home.says(&["trust", "add", "two", "--key", "ci.pub"], 1)
            .contains("as `ci`")
    );
    let issuer = "https://token.actions.githubusercontent.com";
    let identity = ["trust", "add", "github", "--issuer", issuer, "--identity"];
    home.says(
        &[&identity[..], &["https://github.com/acme/checkout/*"]].concat(),
        0,
    );
    let wide = [
        &["trust", "add", "all", "--issuer", issuer, "--identity"][..],
        &["*"],
    ]
    .concat();
    assert!(home.says(&wide, 1).contains("would trust everybody"));
    home.says(&["trust", "revoke", "ci", "--reason", "laptop stolen"], 0);
    let list = home.says(&["trust", "list"], 0);
    assert!(
        list.contains("laptop stolen") && list.contains("acme/checkout"),
        "{list}"
    );
    assert!(
        home.says(&["revoke", "nobody"], 1)
            .contains("airboss keys list")
    );
}

#[test]
fn a_private_key_handed_in_as_a_public_one_is_refused_and_not_repeated() {
    let home = Home::new();
    fs::write(home.path().join("key"), KEY.replace("PUBLIC", "PRIVATE")).unwrap();
    let refused = home.says(&["trust", "add", "ci", "--key", "key"], 1);
    assert!(
        refused.contains("private key") && !refused.contains("MCow"),
        "{refused}"
    );
}

#[test]
fn a_garbled_keyring_is_told_and_left_alone() {
    let home = Home::new();
    fs::write(home.path().join("keys.json"), "{").unwrap();
    assert!(
        home.says(&["rotate"], 1)
            .contains("keys.json is no keyring")
    );
    assert_eq!(
        fs::read_to_string(home.path().join("keys.json")).unwrap(),
        "{"
    );
}

#[test]
fn a_key_may_be_believed_until_a_day() {
    let home = Home::new();
    fs::write(home.path().join("ci.pub"), KEY).unwrap();
    let add = ["trust", "add", "ci", "--key", "ci.pub", "--until"];
    let wrong = home.says(&[&add[..], &["next week"]].concat(), 2);
    assert!(wrong.contains("a day such as 2026-12-31"), "{wrong}");
    home.says(&[&add[..], &["2036-12-31"]].concat(), 0);
    let listed = home.says(&["trust", "list"], 0);
    assert!(listed.contains("until 2036-12-31 00:00Z"), "{listed}");
}
