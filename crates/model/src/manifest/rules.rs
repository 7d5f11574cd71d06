//! What a manifest must keep to beyond its structure: bounds, forms, combinations.

use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::decode::decode;
use super::diagnostic::Finding;
use super::yaml::{Node, Value};
use super::{
    Guardrail, Judging, Metadata, ProcessTarget, Requests, Retention, RolloutSpec, Slo, Strategy,
};
use crate::Span;

mod guardrails;
mod process;
mod rollout;

pub use guardrails::GUARDRAILS_MAX;

/// Most instances of one service on one agent.
pub const INSTANCES_MAX: u32 = 1_000;
/// Most steps of a canary.
pub const STEPS_MAX: usize = 50;
/// Most SLOs of one service.
pub const SLOS_MAX: usize = 20;
/// Most words of a command, entries of an environment and labels, each.
pub const ENTRIES_MAX: usize = 256;
/// Most releases that a service's `keep_last` may ask for.
pub const KEEP_MAX: u32 = 500;
/// Names that `{…}` may hold in a command or in the environment.
pub const PLACEHOLDERS: [&str; 4] = ["artifact", "port", "instance", "version"];

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);
const MS: Duration = Duration::from_millis(1);

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

/// The key that leads to a value.
fn locate_key(root: &Node, path: &[&str]) -> Range<usize> {
    let mut key = root.start();
    let mut node = Some(root);
    for part in path {
        let Some(Value::Map(map)) = node.map(|node| &node.value) else {
            break;
        };
        let entry = map.get(part);
        key = entry.map_or(key, |entry| entry.key_at.clone());
        node = entry.map(|entry| &entry.value);
    }
    key
}

/// All rules over one service. Works part by part, so that a part that cannot be read does not
/// hide what is wrong with the others; such entries are taken out of `root`.
pub(super) fn check(root: &mut Node) -> Vec<Finding> {
    let mut removed = Vec::new();
    let metadata: Option<Metadata> = part(root, &["metadata"], &mut removed);
    let process: Option<ProcessTarget> = part(root, &PROCESS, &mut removed);
    let slos: Option<Vec<Slo>> = part(root, &["spec", "slos"], &mut removed);
    let rollout: Option<RolloutSpec> = part(root, &ROLLOUT, &mut removed);
    let guardrails: Option<Vec<Guardrail>> = part(root, &["spec", "guardrails"], &mut removed);
    let judge: Option<Judging> = part(root, &["spec", "judge"], &mut removed);
    let retention: Option<Retention> = part(root, &["spec", "retention"], &mut removed);
    let requests: Option<Requests> = part(root, &["spec", "requests"], &mut removed);
    let mut rules = Rules {
        root,
        removed,
        findings: Vec::new(),
    };
    if let Some(metadata) = &metadata {
        rules.metadata(metadata);
    }
    if let Some(process) = &process {
        rules.process(process);
    }
    let (slos, rollout) = (slos.unwrap_or_default(), rollout.unwrap_or_default());
    let timeout = process.as_ref().map(|process| process.response_timeout);
    rules.slos(&slos, rollout.strategy(), timeout);
    let guardrails = guardrails.unwrap_or_default();
    let canary = match rollout.strategy() {
        Strategy::Canary(canary) => Some(canary),
        _ => None,
    };
    rules.guardrails(&guardrails, &slos, canary.as_ref());
    rules.chances(judge.unwrap_or_default(), &slos, &guardrails);
    rules.rollout(&rollout);
    rules.retention(retention.unwrap_or_default());
    rules.routes(&slos, &requests.unwrap_or_default(), process.as_ref());
    rules.findings
}

/// Reads one part of the tree. None where it is not there or cannot be read; why was said
/// when the whole was read.
fn part<T: DeserializeOwned>(
    root: &mut Node,
    path: &[&str],
    removed: &mut Vec<Range<usize>>,
) -> Option<T> {
    let mut node = root;
    for name in path {
        let Value::Map(map) = &mut node.value else {
            return None;
        };
        node = &mut map
            .entries
            .iter_mut()
            .find(|entry| entry.key == *name)?
            .value;
    }
    let decoded = decode(node, &[], &mut Vec::new());
    removed.extend(decoded.removed);
    if decoded.value.is_none() {
        removed.push(node.at.clone());
    }
    decoded.value
}

struct Rules<'n> {
    root: &'n Node,
    /// Where something could not be read: what is said about a place with such a hole in it
    /// would be guesswork.
    removed: Vec<Range<usize>>,
    findings: Vec<Finding>,
}

const PROCESS: [&str; 3] = ["spec", "target", "process"];
const ROLLOUT: [&str; 2] = ["spec", "rollout"];

fn join<'p>(base: &[&'p str], more: &[&'p str]) -> Vec<&'p str> {
    [base, more].concat()
}

impl Rules<'_> {
    fn is_whole(&self, path: &[&str]) -> bool {
        let (_, about) = locate(self.root, path);
        let hole = |gone: &Range<usize>| about.start <= gone.start && gone.end <= about.end;
        !self.removed.iter().any(hole)
    }
    fn report(&mut self, path: &[&str], finding: impl FnOnce(Range<usize>) -> Finding) {
        if self.is_whole(path) {
            self.findings.push(finding(locate(self.root, path).0));
        }
    }
    /// As `error`, and points at the key.
    fn misnamed(&mut self, path: &[&str], message: String, help: &str) {
        let key = locate_key(self.root, path);
        self.report(path, |_| Finding::error(key, message).help(help));
    }
    fn error(&mut self, path: &[&str], message: impl Into<String>, help: &str) {
        self.report(path, |at| Finding::error(at, message).help(help));
    }
    fn warning(&mut self, path: &[&str], message: impl Into<String>, help: &str) {
        self.report(path, |at| Finding::warning(at, message).help(help));
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
    /// True where there are not too many; what is too long is not looked at any closer.
    fn count(&mut self, path: &[&str], count: usize, most: usize) -> bool {
        if count > most {
            let name = path.last().copied().unwrap_or_default();
            let help = format!("at most {most} are taken");
            self.error(path, format!("{name} has {count} entries"), &help);
        }
        count <= most
    }
    fn metadata(&mut self, metadata: &Metadata) {
        if let Some(owner) = &metadata.owner
            && (owner.trim().is_empty() || owner.len() > 200)
        {
            let help = "name the team, in at most 200 bytes, or delete the line";
            self.error(&["metadata", "owner"], "this is no owner", help);
        }
        self.count(&["metadata", "labels"], metadata.labels.len(), ENTRIES_MAX);
    }
    fn retention(&mut self, retention: Retention) {
        if retention.keep_last > KEEP_MAX {
            let message = format!("keep_last `{}` is too large", retention.keep_last);
            let help = format!("write at most {KEEP_MAX}; keep_for keeps more for a time");
            self.error(&["spec", "retention", "keep_last"], message, &help);
        }
        let path = ["spec", "retention", "keep_for"];
        self.span(&path, retention.keep_for, Duration::ZERO, CENTURY);
    }
}
