//! Writing HTML: everything that comes from a record is escaped.

use std::fmt;

/// A page as it grows.
#[derive(Default)]
pub(super) struct Html(String);

/// A text with everything escaped that HTML would read, and control characters and signs that turn
/// text around made visible.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_str("\n")?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_str("\u{fffd}")?,
                letter if letter.is_control() => f.write_str("\u{fffd}")?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

impl Html {
    /// Markup of the program's own.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0 += &Escaped(text).to_string();
        self
    }

    /// An element with a text. `tag` may have attributes of the program's own.
    pub(super) fn element(&mut self, tag: &str, text: &str) -> &mut Self {
        let name = tag.split(' ').next().unwrap_or(tag);
        self.raw("<").raw(tag).raw(">").text(text);
        self.raw("</").raw(name).raw(">")
    }

    /// A line of a list of facts.
    pub(super) fn fact(&mut self, name: &str, value: &str) -> &mut Self {
        self.element("dt", name).element("dd", value).raw("\n")
    }

    /// As [`Self::fact`], for what is not prose.
    pub(super) fn code_fact(&mut self, name: &str, value: &str) -> &mut Self {
        self.element("dt", name).raw("<dd>");
        self.element("code", value).raw("</dd>\n")
    }

    /// The head of a table. Names that begin with `#` are of columns of numbers.
    pub(super) fn table(&mut self, caption: &str, columns: &[&str]) -> &mut Self {
        self.raw("<table>").element("caption", caption);
        self.raw("<thead><tr>");
        for name in columns {
            match name.strip_prefix('#') {
                Some(name) => self.element("th scope=\"col\" class=\"num\"", name),
                None => self.element("th scope=\"col\"", name),
            };
        }
        self.raw("</tr></thead><tbody>\n")
    }

    /// The finished page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_is_read_as_markup() {
        let mut html = Html::default();
        html.element("td class=\"num\"", "<script>'\"&\u{202e}\u{1b}[0m");
        assert_eq!(
            html.finish(),
            "<td class=\"num\">&lt;script&gt;&#39;&quot;&amp;\u{fffd}\u{fffd}[0m</td>"
        );
    }
}
