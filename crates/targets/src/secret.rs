//! Secrets are named by reference, never written out: `env:NAME` or `file:PATH`.

use std::fs;

/// Most bytes of a file that a reference leads to (64 KiB).
pub const MOST_SECRET: u64 = 64 << 10;

/// What a reference leads to; of a file, the content without its last line end. The error says
/// why it cannot be read and shows no value.
///
/// # Errors
/// Where the variable is not set, the file cannot be read or is above [`MOST_SECRET`], or the
/// text is no reference.
pub fn read(reference: &str) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", variable)) => std::env::var(variable)
            .map_err(|_| format!("the environment here has no readable `{variable}`")),
        Some(("file", path)) => {
            let fail = |error: std::io::Error| format!("{path}: {error}");
            if fs::metadata(path).map_err(fail)?.len() > MOST_SECRET {
                return Err(format!("{path} is larger than {} KiB", MOST_SECRET >> 10));
            }
            let text = fs::read_to_string(path).map_err(fail)?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
        }
        _ => Err("a secret is named as env:NAME or file:PATH, never written out".to_owned()),
    }
}

/// True for a text that only says where a value is.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}
