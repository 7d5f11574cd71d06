//! The JSON Schema of the manifest, made from the types, and what it knows about fields.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{API_VERSION, KINDS, Service};

/// The JSON Schema (draft 2020-12) of one document of `airboss.yaml`, for editors and for
/// checks outside Airboss. It knows fields, types and the form of texts; rules over several
/// fields (growing steps, one strategy) are only checked by [`super::parse`].
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Service).to_value();
    let envelope = [
        (
            "apiVersion",
            json!({ "const": API_VERSION, "description": "The version of this format." }),
        ),
        (
            "kind",
            json!({ "enum": KINDS, "description": "What the document describes." }),
        ),
    ];
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        // First what a reader looks for.
        let rest = std::mem::take(root);
        root.insert("$schema".to_owned(), Value::Null);
        root.insert("title".to_owned(), Value::Null);
        root.extend(rest);
        root.insert("title".to_owned(), "Airboss manifest".into());
        if let Some(Value::Array(required)) = root.get_mut("required") {
            required.splice(0..0, envelope.iter().map(|(name, _)| Value::from(*name)));
        }
        if let Some(Value::Object(properties)) = root.get_mut("properties") {
            let own = std::mem::take(properties);
            properties.extend(envelope.map(|(name, rule)| (name.to_owned(), rule)));
            properties.extend(own);
        }
    }
    schema
}

/// A field that may be left out is not one that may be `null`: takes that choice away, which
/// also lets editors complete what is behind it.
fn without_null(node: &mut Value) {
    match node {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(rules) => {
            if let Some(Value::Array(types)) = rules.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    rules.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = rules.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    rules.remove("anyOf");
                    rules.extend(only);
                }
            }
            rules.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

fn shared() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(schema)
}

/// Where a field of this name may stand, such as `spec.rollout.canary`.
pub(super) fn homes(field: &str) -> Vec<String> {
    let mut homes = Vec::new();
    visit(shared(), "", 0, &mut |path, fields| {
        if fields.contains_key(field) && !homes.iter().any(|home| home == path) {
            homes.push(path.to_owned());
        }
    });
    // The top of the document has no name to tell.
    homes.retain(|home| !home.is_empty());
    homes
}

/// The first sentence of what a field is for. `path` may hold positions such as `slos[2]`.
pub(super) fn describe(field: &str, path: &str) -> Option<String> {
    let mut plain = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                plain.push_str("[]");
                inside = true;
            }
            ']' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    let mut found = None;
    visit(shared(), "", 0, &mut |at, fields| {
        if at == plain {
            let text = fields.get(field).and_then(|f| f.get("description"));
            let text = text.and_then(Value::as_str).unwrap_or_default();
            let line = text.split("\n\n").next().unwrap_or_default();
            found = Some(line.replace('\n', " ")).filter(|line| !line.is_empty());
        }
    });
    found
}

/// Calls `each` with the path and the fields of every mapping in the schema.
fn visit(node: &Value, path: &str, depth: usize, each: &mut impl FnMut(&str, &Map<String, Value>)) {
    // Deeper than any manifest; holds a schema that refers to itself.
    if depth > 16 {
        return;
    }
    if let Some(name) = node
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|to| to.strip_prefix("#/$defs/"))
        && let Some(target) = shared().get("$defs").and_then(|defs| defs.get(name))
    {
        visit(target, path, depth + 1, each);
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        let choices = node.get(word).and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            visit(choice, path, depth + 1, each);
        }
    }
    if let Some(items) = node.get("items") {
        visit(items, &format!("{path}[]"), depth + 1, each);
    }
    if let Some(Value::Object(fields)) = node.get("properties") {
        each(path, fields);
        for (name, field) in fields {
            let dot = if path.is_empty() { "" } else { "." };
            visit(field, &format!("{path}{dot}{name}"), depth + 1, each);
        }
    }
}
