//! Who asks, for the record.

use std::process::{Command, Stdio};

/// The name to record: `given` (`--by` or `$AIRBOSS_USER`), else git's `user.email`, else
/// `$USER@host`. It names a person for the record and proves nothing: the token does that.
pub fn by(given: Option<&str>) -> String {
    choose(
        given.map(str::to_owned),
        git_email,
        std::env::var("USER").ok(),
        host(),
    )
}

fn choose(
    given: Option<String>,
    git: impl Fn() -> Option<String>,
    user: Option<String>,
    host: String,
) -> String {
    let filled = |text: String| {
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    given
        .and_then(filled)
        .or_else(|| git().and_then(filled))
        .unwrap_or_else(|| {
            let user = user
                .and_then(filled)
                .unwrap_or_else(|| "someone".to_owned());
            format!("{user}@{host}")
        })
}

fn git_email() -> Option<String> {
    let output = Command::new("git")
        .args(["config", "user.email"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_named_person_goes_before_git_and_git_before_the_login() {
        let git = || some("ada@example.org\n");
        assert_eq!(choose(some("bot"), git, some("ada"), "host".into()), "bot");
        assert_eq!(
            choose(some(" "), git, some("ada"), "host".into()),
            "ada@example.org"
        );
        assert_eq!(
            choose(None, || some("\n"), some("ada"), "host".into()),
            "ada@host"
        );
        assert_eq!(choose(None, || None, None, "host".into()), "someone@host");
    }
}
