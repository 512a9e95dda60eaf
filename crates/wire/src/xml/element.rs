//! The writer: appends well-formed XML to a string.

use std::fmt::{self, Display, Write};

use super::{ToXml, XmlContent};

/// The inside of an open element. Names come from our own constants; text may be anything.
#[derive(Debug)]
pub struct Element<'a> {
    out: &'a mut String,
}

impl<'a> Element<'a> {
    /// Writes into `out`, which holds the enclosing start tag already.
    pub fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Character data, escaped.
    pub fn text(&mut self, value: &(impl Display + ?Sized)) {
        write!(Escaped(self.out), "{value}").expect("a String accepts every write");
    }

    /// `<name>` … `</name>` around what `inside` writes.
    pub fn element(&mut self, name: &str, inside: impl FnOnce(&mut Element<'_>)) {
        self.element_with(name, &[], inside);
    }

    /// As [`Self::element`], with attributes.
    pub fn element_with(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        inside: impl FnOnce(&mut Element<'_>),
    ) {
        debug_assert!(is_name(name), "{name:?} is not an XML name");
        self.out.push('<');
        self.out.push_str(name);
        for (attribute, value) in attributes {
            self.out.push(' ');
            self.out.push_str(attribute);
            self.out.push_str("=\"");
            self.text(*value);
            self.out.push('"');
        }
        self.out.push('>');
        inside(&mut Element { out: self.out });
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element that holds only text.
    pub fn leaf(&mut self, name: &str, value: &(impl Display + ?Sized)) {
        self.element(name, |inside| inside.text(value));
    }

    /// An element that holds a value: a leaf or a structure.
    pub fn value<T: XmlContent>(&mut self, name: &str, value: &T) {
        self.element(name, |inside| value.write_content(inside));
    }

    /// `<name>` around one `<item>` for each value.
    pub fn list<T: XmlContent>(&mut self, name: &str, item: &str, values: &[T]) {
        self.element(name, |inside| {
            for value in values {
                inside.value(item, value);
            }
        });
    }

    /// The members of a structure, here.
    pub fn members(&mut self, structure: &impl ToXml) {
        structure.write(&mut Element { out: self.out });
    }
}

/// Cheap sanity check for names, which are constants of this program.
fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly all text is plain, and copied at once.
        if text.bytes().all(is_plain) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // Readers turn a bare carriage return into a line feed.
                '\r' => self.0.push_str("&#13;"),
                '\t' | '\n' => self.0.push(c),
                // XML 1.0 has no spelling at all for these.
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => self.0.push(char::REPLACEMENT_CHARACTER),
                _ => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Whether no character with this byte is written otherwise than as it is.
const fn is_plain(byte: u8) -> bool {
    // U+FFFE and U+FFFF begin with 0xef.
    !matches!(byte, b'&' | b'<' | b'>' | b'"' | 0..=0x1f | 0xef)
}
