//! Turns a tree into a typed resource and gathers everything that does not fit.
//!
//! `serde` stops at its first error. So the offending entry is taken out of the tree and the
//! rest is read again, until nothing is wrong; a list of findings comes of it in one go, and
//! names that are expected come from the types themselves. A struct reports its fields in the
//! order of the text and missing fields last, so taking out loses no other finding.

use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeOwned};

use super::diagnostic::{Finding, listed, nearest, quote};
use super::schema;
use super::yaml::{Node, Value};

/// Most findings of structure in one document; more would bury the first ones.
const STRUCTURE_MAX: usize = 50;

/// What was read of a document, and where something was left out.
pub(super) struct Decoded<T> {
    /// None where so much is missing that nothing sensible is left.
    pub value: Option<T>,
    /// Where entries were taken out: rules about these places have nothing new to say.
    pub removed: Vec<Range<usize>>,
}

/// Reads `root` as a `T`. What does not fit is taken out of `root` and reported in `findings`.
/// `outer` names the fields beside those of `T` that the document may have.
pub(super) fn decode<T: DeserializeOwned>(
    root: &mut Node,
    outer: &[&str],
    findings: &mut Vec<Finding>,
) -> Decoded<T> {
    let mut removed = Vec::new();
    let mut count = 0;
    loop {
        let error = match T::deserialize(&*root) {
            Ok(value) => {
                return Decoded {
                    value: Some(value),
                    removed,
                };
            }
            Err(error) => error,
        };
        if let Some(finding) = describe(root, &error, outer) {
            findings.push(finding);
            count += 1;
            if count == STRUCTURE_MAX {
                let text = format!("only the first {STRUCTURE_MAX} findings are shown");
                findings.push(Finding::error(root.start(), text));
                break;
            }
        }
        match take_out(root, &error) {
            Some(at) => removed.push(at),
            None => break,
        }
    }
    Decoded {
        value: None,
        removed,
    }
}

#[derive(Debug)]
pub(super) enum Problem {
    UnknownField(String, &'static [&'static str]),
    UnknownVariant(String, &'static [&'static str]),
    MissingField(&'static str),
    /// Of several, exactly one has to be there.
    NotOne(&'static [&'static str]),
    Wrong(String),
}

/// What did not fit, and the way to it: positions in maps and lists, innermost first.
#[derive(Debug)]
pub(super) struct Misfit {
    problem: Problem,
    way: Vec<usize>,
}

impl Misfit {
    pub fn new(problem: Problem) -> Self {
        let way = Vec::new();
        Self { problem, way }
    }
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::new(Problem::Wrong(message.into()))
    }
    pub fn under(mut self, position: usize) -> Self {
        self.way.push(position);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}
impl std::error::Error for Misfit {}
impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::wrong(message.to_string())
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownField(field.to_owned(), expected))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownVariant(variant.to_owned(), expected))
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::MissingField(field))
    }
}

/// The node at the end of a way, with the key that leads to it and the path in words.
fn follow<'n>(root: &'n Node, way: &[usize]) -> (&'n Node, Range<usize>, String) {
    let (mut node, mut locus, mut path) = (root, root.start(), String::new());
    for position in way.iter().rev() {
        match &node.value {
            Value::Map(map) => {
                let Some(entry) = map.entries.get(*position) else {
                    break;
                };
                if !path.is_empty() {
                    path.push('.');
                }
                path += &entry.key;
                (node, locus) = (&entry.value, entry.key_at.clone());
            }
            Value::Seq(items) => {
                let Some(item) = items.get(*position) else {
                    break;
                };
                path += &format!("[{position}]");
                (node, locus) = (item, item.start());
            }
            Value::Scalar { .. } => break,
        }
    }
    (node, locus, path)
}

/// ` in spec.target`, or nothing at the top.
fn within(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    }
}

/// The finding, or none where it only follows from an earlier one.
fn describe(root: &Node, error: &Misfit, outer: &[&str]) -> Option<Finding> {
    let (node, key_at, path) = follow(root, &error.way);
    let removed: &[String] = match &node.value {
        Value::Map(map) => &map.removed,
        _ => &[],
    };
    Some(match &error.problem {
        Problem::UnknownField(field, expected) => {
            let (_, _, path) = follow(root, error.way.get(1..).unwrap_or_default());
            let mut names = expected.to_vec();
            if path.is_empty() {
                names.splice(0..0, outer.iter().copied());
            }
            unknown_field(field, key_at, &names, &path)
        }
        Problem::UnknownVariant(variant, expected) => {
            // A variant with content is a key; one without is the value itself.
            let (at, place) = if node.text() == Some(variant) {
                (node.at.clone(), path)
            } else {
                let (_, _, parent) = follow(root, error.way.get(1..).unwrap_or_default());
                (key_at, parent)
            };
            let near = nearest(variant, expected.iter().copied());
            let mean = near.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            let message = format!("{} is not known{}{mean}", quote(variant), within(&place));
            Finding::error(at, message).help(format!("write {}", listed(expected, "or")))
        }
        Problem::MissingField(field) if removed.iter().any(|name| name == field) => return None,
        Problem::NotOne(_) if !removed.is_empty() => return None,
        Problem::MissingField(field) => {
            let message = format!("the field `{field}` is missing{}", within(&path));
            let help = schema::describe(field, &path);
            let finding = Finding::error(key_at, message);
            match help {
                Some(help) => finding.help(format!("`{field}` is: {help}")),
                None => finding,
            }
        }
        Problem::NotOne(names) => {
            let message = format!("exactly one field is expected{}", within(&path));
            Finding::error(key_at, message).help(format!("write {}", listed(names, "or")))
        }
        Problem::Wrong(message) if node.is_nothing() => {
            Finding::error(key_at, format!("{path} has no value; {message}"))
                .help("write a value, or delete the line")
        }
        Problem::Wrong(message) => {
            let at = match node.value {
                Value::Scalar { .. } => node.at.clone(),
                _ => key_at,
            };
            let colon = if path.is_empty() { "" } else { ": " };
            Finding::error(at, format!("{path}{colon}{message}"))
        }
    })
}

fn unknown_field(field: &str, at: Range<usize>, names: &[&str], path: &str) -> Finding {
    let message = format!("unknown field {}{}", quote(field), within(path));
    if field == "<<" {
        return Finding::error(at, message).help("merge keys are not read; write the fields out");
    }
    let known = if names.is_empty() {
        "nothing may stand here".to_owned()
    } else {
        format!("the fields here are {}", listed(names, "and"))
    };
    if let Some(near) = nearest(field, names.iter().copied()) {
        return Finding::error(at, format!("{message}; did you mean `{near}`?")).help(known);
    }
    let homes = schema::homes(field);
    if homes.is_empty() {
        return Finding::error(at, message).help(known);
    }
    Finding::error(
        at,
        format!("{message}; it belongs in {}", homes.join(" or ")),
    )
    .help(known)
}

/// Takes the offending entry out of the tree. None where that would be the whole document.
fn take_out(root: &mut Node, error: &Misfit) -> Option<Range<usize>> {
    let (last, parents) = error.way.split_first()?;
    let mut node = root;
    for position in parents.iter().rev() {
        node = match &mut node.value {
            Value::Map(map) => &mut map.entries.get_mut(*position)?.value,
            Value::Seq(items) => items.get_mut(*position)?,
            Value::Scalar { .. } => return None,
        };
    }
    match &mut node.value {
        Value::Map(map) => {
            let key = map.entries.get(*last)?.key.clone();
            if let Problem::UnknownField(_, names) = &error.problem {
                let near = nearest(&key, names.iter().copied());
                map.removed.extend(near.map(str::to_owned));
            }
            let entry = map.take(&key)?;
            Some(entry.key_at.start..entry.value.at.end.max(entry.key_at.end))
        }
        Value::Seq(items) if *last < items.len() => Some(items.remove(*last).at),
        _ => None,
    }
}
