//! Reads YAML into a tree that knows where everything stood in the text.
//!
//! A parser of events serves here rather than a typed reader because every finding, also one
//! about the meaning of a value, is to name line and column, while the manifest's types stay
//! plain. Text is kept as written (`1.10` stays `1.10`); what it means is decided by the field
//! that takes it.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Finding, quote};

/// Most lists and mappings inside one another.
const DEPTH_MAX: usize = 64;
/// Most names and values in a file, those that aliases repeat included.
const NODES_MAX: usize = 20_000;

/// A value and where it stood.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Bytes of the source.
    pub at: Range<usize>,
    pub value: Value,
    /// This value and all below it.
    size: usize,
    /// Levels of lists and mappings, this one included.
    depth: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar {
        text: String,
        /// Without quotes, so that it may be a number, `true` or nothing.
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Map),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub entries: Vec<Entry>,
    /// Names of fields that were here and were taken out because they were wrong, and the
    /// names that they were probably meant to have: it is no news that these are missing.
    pub removed: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Range<usize>,
    pub value: Node,
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
    /// Takes an entry out and remembers its name.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        self.removed.push(key.to_owned());
        Some(self.entries.remove(index))
    }
}

impl Node {
    fn scalar(at: Range<usize>, text: String, plain: bool) -> Self {
        Self {
            at,
            value: Value::Scalar { text, plain },
            size: 1,
            depth: 0,
        }
    }
    /// True where nothing was written, or `null`, or `~`.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null"))
    }
    /// What it is, for a sentence.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar { .. } if self.is_nothing() => "nothing",
            Value::Scalar { .. } => "text",
        }
    }
    /// Bytes to point at: the value itself, or the first key of a mapping.
    pub fn start(&self) -> Range<usize> {
        match &self.value {
            Value::Map(map) => map
                .entries
                .first()
                .map_or(self.at.clone(), |entry| entry.key_at.clone()),
            _ => self.at.clone(),
        }
    }
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The documents of a text, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub documents: Vec<Node>,
    pub findings: Vec<Finding>,
}

enum Open {
    Seq(Vec<Node>),
    Map {
        map: Map,
        key: Option<(String, Range<usize>)>,
    },
}

struct Frame {
    open: Open,
    start: usize,
    anchor: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    tree: Tree,
}

/// Reads all documents. Stops at the first place where the text is no YAML.
pub(super) fn read(text: &str) -> Tree {
    let options = granit_parser::options! {
        block_nesting_limit: DEPTH_MAX,
        flow_nesting_limit: DEPTH_MAX,
        emit_comments: false,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let taken = match event {
            Ok((event, span)) => match span.byte_range() {
                Some(at) => builder.take(event, at),
                None => Err(Finding::error(0..0, "this text has no positions")),
            },
            Err(error) => Err(syntax(text, &error)),
        };
        if let Err(finding) = taken {
            builder.tree.findings.push(finding);
            break;
        }
    }
    builder.tree
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Range<usize>) -> Result<(), Finding> {
        if event.tag().is_some() {
            return Err(Finding::error(at, "tags (`!name`) have no meaning here")
                .help("write the plain value"));
        }
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                self.put(Node::scalar(at, text.into_owned(), plain), anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Open::Seq(Vec::new()), at.start, anchor);
            }
            Event::MappingStart(_, anchor, _) => {
                let map = Map::default();
                self.open(Open::Map { map, key: None }, at.start, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at.end)?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    Finding::error(at, "this alias stands inside the value that it repeats")
                })?;
                self.put(node, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open, start: usize, anchor: usize) {
        self.stack.push(Frame {
            open,
            start,
            anchor,
        });
    }

    fn close(&mut self, end: usize) -> Result<(), Finding> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let at = frame.start..end.max(frame.start);
        let value = match frame.open {
            Open::Seq(items) => Value::Seq(items),
            Open::Map { map, .. } => Value::Map(map),
        };
        let (mut size, mut depth) = (1, 1);
        let mut count = |node: &Node| {
            size += node.size;
            depth = depth.max(node.depth + 1);
        };
        match &value {
            Value::Seq(items) => items.iter().for_each(&mut count),
            Value::Map(map) => map.entries.iter().for_each(|entry| count(&entry.value)),
            Value::Scalar { .. } => {}
        }
        // Its children were counted when they were put.
        self.nodes = self.nodes.saturating_sub(size - 1);
        let node = Node {
            at,
            value,
            size,
            depth,
        };
        self.put(node, frame.anchor)
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Finding> {
        self.nodes += node.size;
        if self.nodes > NODES_MAX {
            return Err(Finding::error(
                node.at,
                format!(
                    "more than {NODES_MAX} names and values in one file, repeated ones included"
                ),
            )
            .help("split the file, or use fewer aliases"));
        }
        if node.depth + self.stack.len() > DEPTH_MAX {
            return Err(Finding::error(
                node.at,
                format!("more than {DEPTH_MAX} lists and mappings inside one another"),
            ));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.tree.documents.push(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::Seq(items) => items.push(node),
            Open::Map { map, key } => match key.take() {
                Some((key, key_at)) => {
                    if map.get(&key).is_some() {
                        let message = format!("the field {} is there twice", quote(&key));
                        let finding = Finding::error(key_at, message);
                        self.tree.findings.push(finding.help("keep one of the two"));
                    } else {
                        map.entries.push(Entry {
                            key,
                            key_at,
                            value: node,
                        });
                    }
                }
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.at)),
                    _ => {
                        let what = node.kind();
                        return Err(Finding::error(
                            node.at,
                            format!("{what} stands where the name of a field is expected"),
                        )
                        .help("write a text with `{` or `}` in it in double quotes"));
                    }
                },
            },
        }
        Ok(())
    }
}

/// Says in the reader's words what the parser stumbled over.
fn syntax(text: &str, error: &ScanError) -> Finding {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let line_start = text
        .get(..at)
        .and_then(|t| t.rfind('\n'))
        .map_or(0, |n| n + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let indent = line
        .bytes()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .collect::<Vec<_>>();
    if let Some(tab) = indent.iter().position(|b| *b == b'\t') {
        let tab = line_start + tab;
        return Finding::error(tab..tab + 1, "a tab stands in the indentation")
            .help("YAML is indented by spaces only: write two for each level");
    }
    let here = Finding::error(at..at + 1, "");
    let said = |message: String, help: &str| Finding {
        message,
        help: Some(help.to_owned()),
        ..here.clone()
    };
    match error.kind() {
        ErrorKind::UnknownAnchor => said(
            "this alias repeats a value that has no name yet".to_owned(),
            "name the value before with `&name`, or write it out; quote a text that starts with `*`",
        ),
        ErrorKind::RecursionLimitExceeded => said(
            format!("more than {DEPTH_MAX} lists and mappings inside one another"),
            "a manifest needs about ten",
        ),
        _ if ["{artifact}", "{port}"]
            .iter()
            .any(|name| line.contains(name)) =>
        {
            said(
                "this is not valid YAML".to_owned(),
                "put texts with `{` in double quotes, such as \"{artifact}/server\"",
            )
        }
        ErrorKind::UnexpectedCharacter { character } => said(
            format!(
                "the character {} cannot stand here",
                quote(&character.to_string())
            ),
            "put the text in double quotes",
        ),
        _ => said(
            format!("this is not valid YAML: {}", error.info()),
            "look at the indentation, at colons and brackets near this place; quote texts with `: `, `{`, `[`, `#` or `%` in front",
        ),
    }
}
