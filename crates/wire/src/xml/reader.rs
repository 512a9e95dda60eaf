//! What a client needs of a response: the text of an element. No parser, and no trust in what it reads.

/// The text inside the first element of this name that holds only text; None where there is none.
pub fn first_text(document: &str, element: &str) -> Option<String> {
    let open = format!("<{element}>");
    let start = document.find(&open)? + open.len();
    let rest = document.get(start..)?;
    let text = rest.get(..rest.find('<')?)?;
    let closes = rest.get(text.len()..)?.strip_prefix("</")?.strip_prefix(element)?.starts_with('>');
    closes.then(|| unescape(text))
}

/// References that mean nothing stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let reference = after.split_once(';').and_then(|(name, tail)| Some((character(name)?, tail)));
        rest = if let Some((c, tail)) = reference {
            out.push(c);
            tail
        } else {
            out.push('&');
            after
        };
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let number = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Element, ec2_error};
    use proptest::prelude::*;

    #[test]
    fn an_error_document_gives_its_code_and_message() {
        let document =
            ec2_error("InvalidAMIID.Malformed", "Invalid id: \"<&>\" (expecting \"ami-...\")", "r-1");
        assert_eq!(first_text(&document, "Code").as_deref(), Some("InvalidAMIID.Malformed"));
        assert_eq!(
            first_text(&document, "Message").as_deref(),
            Some("Invalid id: \"<&>\" (expecting \"ami-...\")")
        );
        assert_eq!(first_text(&document, "Errors"), None);
        assert_eq!(first_text(&document, "imageId"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(text in "[ -~\r\n\t]{0,40}") {
            let mut out = String::new();
            Element::new(&mut out).leaf("name", &text);
            prop_assert_eq!(first_text(&out, "name"), Some(text));
        }

        #[test]
        fn any_text_is_read_without_harm(document in "[<>/&;#a-c0-9x\u{e9}]{0,100}") {
            first_text(&document, "a");
        }
    }
}
