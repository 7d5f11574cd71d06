//! Rules for processes: command, environment, address, health.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{ENTRIES_MAX, HOUR, INSTANCES_MAX, MS, PLACEHOLDERS, PROCESS, Rules, join};
use crate::manifest::diagnostic::{nearest, quote};
use crate::manifest::secrets::is_reference;
use crate::manifest::{ProcessTarget, Sticky};

impl Rules<'_> {
    /// A path that an instance is asked for; `usual` is what to write where nothing of it can be kept.
    fn path(&mut self, place: &[&str], what: &str, path: &str, usual: &str) {
        let fits = |c: char| c.is_ascii_graphic() && c != '#';
        if !path.starts_with('/') {
            let help = format!(
                "write a path, such as `/{}`",
                path.rsplit('/').next().unwrap_or(usual)
            );
            let message = format!("the {what} {} does not start with `/`", quote(path));
            self.error(place, message, &help);
        } else if path.len() > 2_048 || !path.chars().all(fits) {
            let message = format!("{} is not a path that can be asked for", quote(path));
            self.error(
                place,
                message,
                "write it as in a URL: no spaces, no `#`, at most 2,048 bytes",
            );
        }
    }

    pub(super) fn process(&mut self, process: &ProcessTarget) {
        let at = |name: &'static str| join(&PROCESS, &[name]);
        self.command(process);
        self.environment(process);
        if !(1..=INSTANCES_MAX).contains(&process.instances) {
            let message = format!("{} instances are not possible", process.instances);
            let help = format!("write a number from 1 to {INSTANCES_MAX}");
            self.error(&at("instances"), message, &help);
        }
        self.listen(&at("listen"), &process.listen);
        let health = &process.health;
        if let Some(path) = &health.http {
            let place = join(&PROCESS, &["health", "http"]);
            self.path(&place, "health path", path, "healthz");
        }
        self.path(
            &at("metrics"),
            "page of metrics",
            &process.metrics,
            "metrics",
        );
        let health_at = |name: &'static str| join(&PROCESS, &["health", name]);
        self.span(
            &health_at("ready_within"),
            health.ready_within,
            100 * MS,
            HOUR,
        );
        self.span(&health_at("every"), health.every, 50 * MS, HOUR);
        if !(1..=100).contains(&health.failures) {
            let message = format!("{} failures in a row are not possible", health.failures);
            self.error(
                &health_at("failures"),
                message,
                "write a number from 1 to 100",
            );
        }
        self.span(&at("drain"), process.drain, MS, HOUR);
        self.span(&at("response_timeout"), process.response_timeout, MS, HOUR);
        match &process.sticky {
            Some(Sticky::Cookie(name)) => {
                self.token(&join(&PROCESS, &["sticky", "cookie"]), name, "cookie");
            }
            Some(Sticky::Header(name)) => {
                self.token(&join(&PROCESS, &["sticky", "header"]), name, "header");
            }
            None => {}
        }
        if let Some(name) = &process.force_header {
            self.token(&at("force_header"), name, "header");
        }
    }

    fn command(&mut self, process: &ProcessTarget) {
        let place = join(&PROCESS, &["command"]);
        if process
            .command
            .first()
            .is_none_or(|word| word.trim().is_empty())
        {
            let help = "write the program and its arguments: [\"{artifact}/server\", \"--port\", \"{port}\"]";
            self.error(&place, "the command is empty", help);
            return;
        }
        if !self.count(&place, process.command.len(), ENTRIES_MAX) {
            return;
        }
        let before = self.findings.len();
        for (index, word) in process.command.iter().enumerate() {
            let index = index.to_string();
            self.placeholders(&join(&place, &[&index]), word);
        }
        // A slip such as `{prot}` says it all.
        if self.findings.len() > before {
            return;
        }
        let mut words = process.command.iter().chain(process.env.values());
        if !words.clone().any(|word| word.contains("{port}")) {
            self.warning(
                &place,
                "neither the command nor env uses `{port}`",
                "each instance gets a port of its own, so that two versions run side by side; \
                 hand it over as an argument, or in env as `PORT: \"{port}\"`",
            );
        }
        if !words.any(|word| word.contains("{artifact}")) {
            self.warning(
                &place,
                "neither the command nor env uses `{artifact}`",
                "every release would run the same program; start what was shipped, such as `{artifact}/server`",
            );
        }
    }

    fn environment(&mut self, process: &ProcessTarget) {
        let place = join(&PROCESS, &["env"]);
        if !self.count(&place, process.env.len(), ENTRIES_MAX) {
            return;
        }
        for (name, value) in &process.env {
            let place = join(&place, &[name]);
            let fits = |c: char| c.is_ascii_graphic() && c != '=';
            if name.is_empty() || !name.chars().all(fits) {
                let message = format!("{} is not the name of a variable", quote(name));
                self.misnamed(&place, message, "use letters, digits and `_`");
            } else if name.starts_with("AIRBOSS_") {
                let message = format!("`{name}` is reserved: Airboss sets such variables itself");
                self.misnamed(
                    &place,
                    message,
                    "choose a name that does not start with `AIRBOSS_`",
                );
            }
            if value.contains('\0') {
                self.error(
                    &place,
                    "a NUL byte cannot be handed to a process",
                    "take it out",
                );
            }
            if !is_reference(value) {
                self.placeholders(&place, value);
            } else if value
                .split_once(':')
                .is_none_or(|(_, rest)| rest.trim().is_empty())
            {
                let message = format!("{} refers to nothing", quote(value));
                self.error(&place, message, "write `env:NAME` or `file:PATH`");
            }
        }
    }

    /// Only `{word}` counts: JSON and shell snippets in an argument are the program's business.
    fn placeholders(&mut self, place: &[&str], text: &str) {
        let known: Vec<String> = PLACEHOLDERS.map(|name| format!("`{{{name}}}`")).to_vec();
        let known = format!("these are filled in: {}", known.join(", "));
        for piece in text.split('{').skip(1) {
            let Some((name, _)) = piece.split_once('}') else {
                continue;
            };
            let word = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if !word || PLACEHOLDERS.contains(&name) {
                continue;
            }
            match nearest(name, PLACEHOLDERS) {
                Some(near) => {
                    let message = format!("`{{{name}}}` is not known; did you mean `{{{near}}}`?");
                    self.error(place, message, &known);
                }
                None => {
                    let message = format!("`{{{name}}}` is not known and stays as it is");
                    self.warning(place, message, &known);
                }
            }
        }
    }

    fn listen(&mut self, place: &[&str], listen: &str) {
        let shape =
            "write HOST:PORT: `127.0.0.1:8080` for this machine only, `0.0.0.0:8080` for everybody";
        let refuse = |why: &str| format!("{} is not an address to listen on: {why}", quote(listen));
        let Some((host, port)) = listen.rsplit_once(':') else {
            return self.error(place, refuse("it has no port"), shape);
        };
        if host.is_empty() {
            return self.error(place, refuse("it has no host"), shape);
        }
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        let good = match bracketed {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
            None if numeric => host.parse::<Ipv4Addr>().is_ok(),
            None => host.len() <= 253 && host.split('.').all(label),
        };
        if host.contains("://") || host.contains('/') {
            return self.error(place, refuse("it looks like a URL"), shape);
        }
        if !good {
            let why = if bracketed.is_none() && host.contains(':') {
                "an IPv6 address stands in brackets, such as `[::1]:8080`".to_owned()
            } else {
                format!("{} is no host", quote(host))
            };
            return self.error(place, refuse(&why), shape);
        }
        match port.parse::<u16>() {
            Ok(0) => self.warning(
                place,
                "port 0 means a different port at every start",
                "write the port that users connect to",
            ),
            Ok(_) if port.bytes().all(|b| b.is_ascii_digit()) => {}
            _ => {
                let why = format!("{} is no port from 1 to 65535", quote(port));
                self.error(place, refuse(&why), shape);
            }
        }
    }

    pub(super) fn token(&mut self, path: &[&str], text: &str, what: &str) {
        if !is_token(text) {
            self.error(
                path,
                format!("{} is not the name of a {what}", quote(text)),
                "use letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~",
            );
        }
    }
}

/// A token of RFC 9110, section 5.6.2: what names of headers and cookies are made of.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
