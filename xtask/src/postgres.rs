//! A real PostgreSQL server for tests and benches, as `scripts/postgres.sh` runs it.

use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A server on a socket in a folder of its own. It ends, and its folder goes, when this is
/// dropped or the process dies.
pub struct Server {
    script: Mutex<(Child, BufReader<ChildStdout>)>,
    /// Where its socket is.
    pub folder: String,
}

impl Server {
    /// Starts one; with `--standby-of FOLDER` a synchronous standby of another.
    ///
    /// # Panics
    /// Where there is no PostgreSQL or it does not start; the script says why.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(&[], &std::env::temp_dir(), arguments)
    }

    /// The same, with its data somewhere in this folder.
    ///
    /// # Panics
    /// Where there is no PostgreSQL or it does not start; the script says why.
    pub fn start_in(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_by(&[], folder, arguments)
    }

    /// The same on a host of its own: in this network namespace.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_on(space: &str, arguments: &[&str]) -> Self {
        let by = ["ip", "netns", "exec", space];
        Self::start_by(&by, &std::env::temp_dir(), arguments)
    }

    fn start_by(by: &[&str], folder: &Path, arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres.sh");
        // Tests of other crates take this file in and lie one folder deeper.
        let script = if Path::new(script).exists() {
            script
        } else {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres.sh")
        };
        let words: Vec<&str> = by.iter().copied().chain([script]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(arguments)
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{script}: {error}"));
        let Some(stdout) = child.stdout.take() else {
            panic!("{script} has no output");
        };
        let mut stdout = BufReader::new(stdout);
        let folder = line(&mut stdout, "ready ");
        Self {
            script: Mutex::new((child, stdout)),
            folder,
        }
    }

    /// Has the script do a word: `start`, `stop`, `crash`, `promote`, `freeze`, `thaw`.
    ///
    /// # Panics
    /// Where it does not work; the script says why.
    pub fn make(&self, word: &str) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let (child, stdout) = &mut *script;
        let asked = child.stdin.as_mut().map(|stdin| writeln!(stdin, "{word}"));
        assert!(matches!(asked, Some(Ok(()))), "the script ended");
        assert_eq!(line(stdout, "done "), word);
    }

    /// The address of a database on its socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user=airboss&host={}", self.folder)
    }

    /// True where a query is answered.
    pub fn answers(&self, database: &str) -> bool {
        let mut psql = Command::new("psql");
        psql.args(["-qAtX", "-U", "airboss", "-h", &self.folder]);
        let done = psql.args(["-c", "SELECT 1", database]).output();
        done.is_ok_and(|done| done.status.success())
    }

    /// What a query says, without frame; lines are rows.
    ///
    /// # Panics
    /// Where it does not work.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "airboss", "-h"]);
        let done = psql.args([&self.folder, "-c", sql, database]).output();
        let done = done.unwrap_or_else(|error| panic!("psql: {error}"));
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{sql}: {error}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

fn line(from: &mut impl std::io::BufRead, start: &str) -> String {
    let mut line = String::new();
    let read = from.read_line(&mut line);
    let rest = line.trim().strip_prefix(start);
    match (read, rest) {
        (Ok(_), Some(rest)) => rest.to_owned(),
        (read, _) => panic!("the server's script said {line:?} ({read:?})"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = self
            .script
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(script.0.stdin.take());
        // The script ends by itself now; a failure of that has nobody to be told to.
        let _ = script.0.wait();
    }
}
