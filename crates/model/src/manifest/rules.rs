//! What a manifest must keep to beyond its structure: bounds, forms, combinations.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use super::diagnostic::{Finding, nearest, quote};
use super::secrets::is_reference;
use super::yaml::{Node, Value};
use super::{
    Bake, Canary, ProcessTarget, RolloutSpec, Service, Slo, Sticky, Strategy, Target, Then,
};
use crate::Span;
use crate::traffic::Weight;

/// Most instances of one service on one agent.
pub const INSTANCES_MAX: u32 = 1_000;
/// Most steps of a canary.
pub const STEPS_MAX: usize = 50;
/// Most SLOs of one service.
pub const SLOS_MAX: usize = 20;
/// Most words of a command, entries of an environment and labels, each.
pub const ENTRIES_MAX: usize = 256;
/// Names that `{…}` may hold in a command or in the environment.
pub const PLACEHOLDERS: [&str; 4] = ["artifact", "port", "instance", "version"];

const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const MS: Duration = Duration::from_millis(1);

/// A finding with the extent of what it is about.
pub(super) struct Breach {
    pub about: Range<usize>,
    pub finding: Finding,
}

/// Where to point for a value (a scalar itself, else the key that leads to it), and the whole
/// extent of the value. Where the path ends early, the last place that is there.
pub(super) fn locate(root: &Node, path: &[&str]) -> (Range<usize>, Range<usize>) {
    let (mut node, mut key) = (root, root.start());
    for part in path {
        match &node.value {
            Value::Map(map) => match map.get(part) {
                Some(entry) => (node, key) = (&entry.value, entry.key_at.clone()),
                None => break,
            },
            Value::Seq(items) => match part.parse().ok().and_then(|at: usize| items.get(at)) {
                Some(item) => (node, key) = (item, item.start()),
                None => break,
            },
            Value::Scalar { .. } => break,
        }
    }
    match &node.value {
        Value::Scalar { .. } if !node.is_nothing() => (node.at.clone(), node.at.clone()),
        _ => (key.clone(), key.start..node.at.end.max(key.end)),
    }
}

/// All rules over one service.
pub(super) fn service(root: &Node, service: &Service) -> Vec<Breach> {
    let mut rules = Rules {
        root,
        breaches: Vec::new(),
    };
    rules.metadata(service);
    let Target::Process(process) = &service.spec.target;
    rules.process(process);
    rules.slos(service, process);
    rules.rollout(&service.spec.rollout);
    rules.breaches
}

struct Rules<'n> {
    root: &'n Node,
    breaches: Vec<Breach>,
}

const PROCESS: [&str; 3] = ["spec", "target", "process"];
const ROLLOUT: [&str; 2] = ["spec", "rollout"];

fn join<'p>(base: &[&'p str], more: &[&'p str]) -> Vec<&'p str> {
    [base, more].concat()
}

impl Rules<'_> {
    fn error(&mut self, path: &[&str], message: impl Into<String>, help: &str) {
        let (at, about) = locate(self.root, path);
        let finding = Finding::error(at, message).help(help);
        self.breaches.push(Breach { about, finding });
    }
    fn warning(&mut self, path: &[&str], message: impl Into<String>, help: &str) {
        let (at, about) = locate(self.root, path);
        let finding = Finding::warning(at, message).help(help);
        self.breaches.push(Breach { about, finding });
    }
    fn span(&mut self, path: &[&str], span: Span, least: Duration, most: Duration) {
        if span.0 >= least && span.0 <= most {
            return;
        }
        let name = path.last().copied().unwrap_or_default();
        let what = if span.0 < least { "short" } else { "long" };
        let (least, most) = (Span(least), Span(most));
        self.error(
            path,
            format!("{name} `{span}` is too {what}"),
            &format!("write a span from {least} to {most}"),
        );
    }
    fn count(&mut self, path: &[&str], count: usize, most: usize) {
        if count > most {
            let name = path.last().copied().unwrap_or_default();
            let help = format!("at most {most} are taken");
            self.error(path, format!("{name} has {count} entries"), &help);
        }
    }
    fn token(&mut self, path: &[&str], text: &str, what: &str) {
        if !is_token(text) {
            self.error(
                path,
                format!("{} is not the name of a {what}", quote(text)),
                "use letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~",
            );
        }
    }

    fn metadata(&mut self, service: &Service) {
        let metadata = &service.metadata;
        if let Some(owner) = &metadata.owner
            && (owner.trim().is_empty() || owner.len() > 200)
        {
            let help = "name the team, in at most 200 bytes, or delete the line";
            self.error(&["metadata", "owner"], "this is no owner", help);
        }
        self.count(&["metadata", "labels"], metadata.labels.len(), ENTRIES_MAX);
    }

    fn process(&mut self, process: &ProcessTarget) {
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
            let fits = |c: char| c.is_ascii_graphic() && c != '#';
            if !path.starts_with('/') {
                let help = format!(
                    "write a path, such as `/{}`",
                    path.rsplit('/').next().unwrap_or("healthz")
                );
                let message = format!("the health path {} does not start with `/`", quote(path));
                self.error(&place, message, &help);
            } else if path.len() > 2_048 || !path.chars().all(fits) {
                let message = format!("{} is not a path that can be asked for", quote(path));
                self.error(
                    &place,
                    message,
                    "write it as in a URL: no spaces, no `#`, at most 2,048 bytes",
                );
            }
        }
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
        self.count(&place, process.command.len(), ENTRIES_MAX);
        for (index, word) in process.command.iter().enumerate() {
            let index = index.to_string();
            self.placeholders(&join(&place, &[&index]), word);
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
        self.count(&place, process.env.len(), ENTRIES_MAX);
        for (name, value) in &process.env {
            let place = join(&place, &[name]);
            let fits = |c: char| c.is_ascii_graphic() && c != '=';
            if name.is_empty() || !name.chars().all(fits) {
                let message = format!("{} is not the name of a variable", quote(name));
                self.error(&place, message, "use letters, digits and `_`");
            } else if name.starts_with("AIRBOSS_") {
                let message = format!("`{name}` is reserved: Airboss sets such variables itself");
                self.error(
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

    fn slos(&mut self, service: &Service, process: &ProcessTarget) {
        let slos = &service.spec.slos;
        self.count(&["spec", "slos"], slos.len(), SLOS_MAX);
        for (index, slo) in slos.iter().enumerate() {
            let number = index.to_string();
            let place = ["spec", "slos", number.as_str()];
            self.slo(&place, slo, process);
            let first = slos.iter().position(|other| other.name == slo.name);
            if first != Some(index) {
                let message = format!("two SLOs have the name {}", quote(&slo.name));
                self.error(
                    &join(&place, &["name"]),
                    message,
                    "give each SLO a name of its own",
                );
            }
        }
        let canary = matches!(service.spec.rollout.strategy(), Strategy::Canary(_));
        if canary && !slos.iter().any(|slo| slo.critical) {
            let what = if slos.is_empty() {
                "a canary without SLOs has nothing to be judged by"
            } else {
                "none of the SLOs is critical, so nothing has to be proven at a step"
            };
            self.warning(
                &["spec", "slos"],
                what,
                "promise something, such as `- { name: availability, objective: 99.9%, bad: \"status >= 500\" }`",
            );
        }
    }

    fn slo(&mut self, place: &[&str], slo: &Slo, process: &ProcessTarget) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if slo.name.is_empty() || slo.name.len() > 63 || !slo.name.chars().all(fits) {
            let message = format!("{} is not a name for an SLO", quote(&slo.name));
            let help = "use up to 63 letters, digits and `- _ .`";
            self.error(&join(place, &["name"]), message, help);
        }
        match (&slo.bad, &slo.under) {
            (None, None) => self.error(
                place,
                format!(
                    "the SLO {} does not say when a request is bad",
                    quote(&slo.name)
                ),
                "add `bad: \"status >= 500\"` or `under: 250ms`",
            ),
            (Some(_), Some(_)) => self.error(
                &join(place, &["under"]),
                format!("the SLO {} has both `bad` and `under`", quote(&slo.name)),
                "make two SLOs of it, each with its own objective",
            ),
            (Some(bad), None) if bad.contains(200) => self.warning(
                &join(place, &["bad"]),
                format!("`{bad}` counts the answer 200 as bad"),
                "this condition says which requests failed, such as `status >= 500`",
            ),
            (Some(_), None) => {}
            (None, Some(under)) => {
                let place = join(place, &["under"]);
                self.span(&place, *under, MS, HOUR);
                if under.0 > process.response_timeout.0 {
                    let limit = process.response_timeout;
                    let message = format!("no answer takes longer than response_timeout, {limit}");
                    let help = "lower `under`, or raise `response_timeout`";
                    self.warning(&place, message, help);
                }
            }
        }
        if slo.objective.ratio() < 0.5 {
            let share = String::from(slo.objective);
            self.warning(
                &join(place, &["objective"]),
                format!("an objective of {share} lets most requests be bad"),
                "the objective is the share of good requests, such as `99.9%`",
            );
        }
    }

    fn rollout(&mut self, rollout: &RolloutSpec) {
        let named = [
            ("canary", rollout.canary.is_some()),
            ("blue_green", rollout.blue_green.is_some()),
            ("all_at_once", rollout.all_at_once.is_some()),
        ];
        let mut named = named.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
        if let Some(first) = named.next() {
            for other in named {
                let message =
                    format!("`{other}` stands beside `{first}`: a rollout has one strategy");
                self.error(&join(&ROLLOUT, &[other]), message, "keep one of them");
            }
        }
        let lease = join(&ROLLOUT, &["exposure_lease"]);
        self.span(&lease, rollout.exposure_lease, Duration::from_secs(5), HOUR);
        if let Some(blue_green) = &rollout.blue_green {
            self.span(
                &join(&ROLLOUT, &["blue_green", "keep"]),
                blue_green.keep,
                MS,
                WEEK,
            );
        }
        if let Some(canary) = &rollout.canary {
            self.canary(canary);
        }
    }

    fn canary(&mut self, canary: &Canary) {
        let at = |name: &'static str| join(&ROLLOUT, &["canary", name]);
        let steps = &canary.steps;
        if steps.is_empty() {
            let help = "write for instance `[1%, 10%, 50%, 100%]`, or delete the line for these";
            self.error(&at("steps"), "a canary has at least one step", help);
        }
        self.count(&at("steps"), steps.len(), STEPS_MAX);
        let mut before = Weight::ZERO;
        for (index, step) in steps.iter().enumerate() {
            let index = index.to_string();
            if *step <= before {
                let message = if before == Weight::ZERO {
                    "a step of 0% would expose nobody".to_owned()
                } else {
                    format!("the step {step} is not above the one before, {before}")
                };
                let help = "steps grow: each one is larger than the one before";
                self.error(&join(&at("steps"), &[&index]), message, help);
            }
            before = before.max(*step);
        }
        if let Some(last) = steps.last()
            && *last != Weight::FULL
            && before != Weight::FULL
        {
            let index = (steps.len() - 1).to_string();
            self.error(
                &join(&at("steps"), &[&index]),
                format!("the last step is {last}, so the release would never reach everybody"),
                "add `100%` at the end",
            );
        }
        self.span(&at("at_most"), canary.at_most, Duration::from_secs(1), WEEK);
        self.span(&at("hold_old"), canary.hold_old, MS, WEEK);
        if let Bake::AtLeast(least) = canary.bake {
            self.span(&at("bake"), least, MS, WEEK);
            if least > canary.at_most {
                let message = format!("bake `{least}` is longer than at_most, {}", canary.at_most);
                self.error(&at("bake"), message, "raise `at_most`, or lower `bake`");
            }
        }
        if canary.then == Then::Promote {
            self.warning(
                &at("then"),
                "a step without evidence goes on to more users",
                "`hold` keeps the exposure and tells people; the record says that the policy decided",
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
