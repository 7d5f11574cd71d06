//! Finds secrets that were written into a manifest. Their values are shown to nobody.

use std::ops::Range;

use super::diagnostic::Finding;
use super::yaml::{Node, Value};

/// Last words of a name that say that its value is secret.
const LAST: [&str; 13] = [
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "SECRET",
    "SECRETS",
    "KEY",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY_BASE",
];

/// True where a name such as `STRIPE_API_KEY` or `db-password` says that its value is secret.
/// A single `KEY`, `PASS` or `PWD` and a `PUBLIC_KEY` do not.
pub fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect::<String>()
        .to_ascii_uppercase();
    if name.ends_with("PUBLIC_KEY") {
        return false;
    }
    LAST.iter().any(|last| {
        let Some(front) = name.strip_suffix(last) else {
            return false;
        };
        match *last {
            "PASS" | "PWD" | "KEY" | "KEY_BASE" => front.len() > 1 && front.ends_with('_'),
            // `ACCESSTOKEN` too.
            _ => true,
        }
    })
}

/// True for a value that only says where the secret is.
pub(super) fn is_reference(value: &str) -> bool {
    value.starts_with("env:") || value.starts_with("file:")
}

/// The password of a URL such as `postgres://user:password@host`, by its bytes in `text`.
fn url_password(text: &str) -> Option<Range<usize>> {
    let authority = text.find("://")? + 3;
    let rest = &text[authority..];
    let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    let colon = rest[..at].find(':')?;
    (colon + 1 < at).then(|| authority + colon + 1..authority + at)
}

/// Reports inline secrets and notes where they are, so that no finding shows them.
pub(super) fn find(node: &Node, hidden: &mut Vec<Range<usize>>, findings: &mut Vec<Finding>) {
    match &node.value {
        Value::Scalar { text, .. } => {
            let placeholder = |range: &Range<usize>| text[range.clone()].starts_with('{');
            if url_password(text).is_some_and(|range| !placeholder(&range)) {
                hidden.push(node.at.clone());
                findings.push(refusal(node.at.clone(), "a URL with a password in it"));
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| find(item, hidden, findings)),
        Value::Map(map) => {
            // Labels are for people to search by; they are no place that a program reads.
            for entry in map.entries.iter().filter(|entry| entry.key != "labels") {
                match entry.value.text() {
                    Some(text)
                        if is_secret_name(&entry.key)
                            && !text.is_empty()
                            && !is_reference(text) =>
                    {
                        hidden.push(entry.value.at.clone());
                        let what = format!("the value of the secret `{}`", entry.key);
                        findings.push(refusal(entry.key_at.clone(), &what));
                    }
                    _ => find(&entry.value, hidden, findings),
                }
            }
        }
    }
}

fn refusal(at: Range<usize>, what: &str) -> Finding {
    Finding::error(at, format!("{what} stands in the manifest")).help(
        "write where it is instead: `env:NAME` (an environment variable of the agent) or \
         `file:PATH` (a file on the agent's host); and change the secret if it was committed",
    )
}

/// Notes what looks like a secret by the bare text, line by line, where nothing in that place
/// was noted before: an open quote may hide an entry from the tree.
pub(super) fn guess(text: &str, hidden: &mut Vec<Range<usize>>) {
    let mut known = hidden.clone();
    known.sort_by_key(|range| range.start);
    let mut note = |range: Range<usize>| {
        let before = known.partition_point(|other| other.start < range.end);
        if before == 0 || known[before - 1].end <= range.start {
            hidden.push(range);
        }
    };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut name_start = 0;
        for (at, c) in line.char_indices() {
            if matches!(c, ':' | '=') {
                let name = line[name_start..at].trim_matches(|c: char| !c.is_alphanumeric());
                let value = line[at + 1..].trim_start_matches([' ', '"', '\'']);
                if is_secret_name(name) && !is_reference(value) {
                    note(start + at + 1..start + line.len());
                    break;
                }
            }
            // A closing quote belongs to the name in front of it.
            let quote = matches!(c, '"' | '\'') && line[at + 1..].starts_with([':', '=']);
            if !c.is_alphanumeric() && !matches!(c, '_' | '-') && !quote {
                name_start = at + c.len_utf8();
            }
        }
        if let Some(range) = url_password(line) {
            note(start + range.start..start + range.end);
        }
        start += line.len();
    }
}

/// A message with what looks like a secret in its quoted parts shown as `*`.
pub(super) fn masked(message: &str) -> String {
    let parts = message.split('`').enumerate().map(|(index, part)| {
        let mut hidden = Vec::new();
        if index % 2 == 1 {
            guess(part, &mut hidden);
        }
        let show = |(at, c)| match hidden.iter().any(|range| range.contains(&at)) {
            true => '*',
            false => c,
        };
        part.char_indices().map(show).collect::<String>()
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for secret in [
            "API_TOKEN",
            "db-password",
            "ACCESSTOKEN",
            "STRIPE_API_KEY",
            "DB_PASS",
            "SECRET_KEY_BASE",
            "SECRET",
        ] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for open in [
            "PWD",
            "KEY",
            "MONKEY",
            "TOKEN_TTL",
            "RSA_PUBLIC_KEY",
            "LOG_LEVEL",
            "COMPASS",
        ] {
            assert!(!is_secret_name(open), "{open}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_found_and_a_port_is_not() {
        assert_eq!(url_password("postgres://me:hunter2@db/x"), Some(14..21));
        for open in ["http://127.0.0.1:80/a@b", "http://me@host", "x:y@z"] {
            assert_eq!(url_password(open), None, "{open}");
        }
    }
}
