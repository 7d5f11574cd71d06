//! XML as reports need it: elements, attributes and text. Nothing is fetched, and nothing that a
//! document defines for itself (DTD, entities) is expanded: such documents are refused.

use std::collections::BTreeMap;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::ReadError;

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 64;
/// Most attributes of an element.
const ATTRIBUTES_MAX: usize = 64;

/// What is met on the way through a document, in its order.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// An element begins: its name without prefix, and its attributes.
    Open(&'a str, BTreeMap<String, String>),
    /// Text within the element that was opened last.
    Text(&'a str),
    /// The element that was opened last ends.
    Close(&'a str),
}

/// Walks through the document.
///
/// # Errors
/// Where it is not well-formed, defines entities, or is nested too deeply; with the line.
pub(super) fn walk(text: &str, mut see: impl FnMut(Seen<'_>)) -> Result<(), ReadError> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<String> = Vec::new();
    loop {
        let event = reader
            .read_event()
            .map_err(|error| invalid(text, reader.error_position(), &error.to_string()))?;
        let at = reader.buffer_position();
        let fail = |why: &str| invalid(text, at, why);
        match event {
            Event::Start(element) => {
                if open.len() >= DEPTH_MAX {
                    return Err(fail(&format!("elements are nested over {DEPTH_MAX} deep")));
                }
                let attributes = attributes(&element).map_err(|why| fail(&why))?;
                let name = element.local_name().into_inner();
                see(Seen::Open(name, attributes));
                open.push(name.to_owned());
            }
            Event::Empty(element) => {
                let attributes = attributes(&element).map_err(|why| fail(&why))?;
                let name = element.local_name().into_inner();
                see(Seen::Open(name, attributes));
                see(Seen::Close(name));
            }
            Event::End(_) => {
                if let Some(name) = open.pop() {
                    see(Seen::Close(&name));
                }
            }
            Event::Text(part) => see(Seen::Text(&part.xml10_content())),
            Event::CData(part) => see(Seen::Text(&part.xml10_content())),
            Event::GeneralRef(part) => {
                let character = part
                    .resolve_char_ref()
                    .map_err(|error| fail(&error.to_string()))?
                    .map(String::from);
                let name = part.xml10_content();
                match character.as_deref().or(resolve_predefined_entity(&name)) {
                    Some(resolved) => see(Seen::Text(resolved)),
                    None => return Err(fail(&format!("the entity `&{name};` is not known"))),
                }
            }
            Event::DocType(_) => {
                return Err(fail(
                    "it has a DOCTYPE, and documents that define entities are not read",
                ));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => {
                let last = open.pop().unwrap_or_default();
                return Err(fail(&format!("it ends within <{last}>: it was cut off")));
            }
        }
    }
}

fn attributes(element: &BytesStart<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| error.to_string())?;
        if all.len() >= ATTRIBUTES_MAX {
            return Err(format!("an element has over {ATTRIBUTES_MAX} attributes"));
        }
        let name = attribute.key.local_name().into_inner();
        all.insert(name.to_owned(), value.into_owned());
    }
    Ok(all)
}

fn invalid(text: &str, at: u64, why: &str) -> ReadError {
    let at = usize::try_from(at).unwrap_or(text.len()).min(text.len());
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    ReadError::Invalid {
        form: "XML",
        why: format!("line {line}: {why}"),
    }
}
