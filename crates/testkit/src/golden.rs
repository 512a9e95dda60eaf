//! Requests with their answers as files that people read: `tests/golden/<action>/<case>.txt`.

use std::fmt::Write;
use std::path::PathBuf;

/// Set it to write the files anew; the difference is then reviewed like any other change.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Compares the text with the file, or writes the file.
///
/// # Panics
///
/// When they differ.
#[track_caller]
pub fn golden(action: &str, case: &str, text: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let path: PathBuf = [root, action, &format!("{case}.txt")].iter().collect();
    if is_update() {
        let folder = path.parent().expect("the path has a folder");
        std::fs::create_dir_all(folder).expect("the repository can be written to");
        std::fs::write(&path, text).expect("the repository can be written to");
        return;
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == text,
        "tests/golden/{action}/{case}.txt differs (run again with {UPDATE}=1 and look at the difference):\n\
         --- the file\n{file}\n--- now\n{text}"
    );
}

#[expect(clippy::disallowed_methods, reason = "what a developer sets for one run of the tests")]
fn is_update() -> bool {
    std::env::var(UPDATE).is_ok_and(|value| !value.is_empty())
}

/// One element a line, indented.
pub fn pretty(xml: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0;
    for piece in xml.split_inclusive('>').map(|piece| piece.trim_matches('\n')).filter(|p| !p.is_empty()) {
        if let Some((_, close)) = piece.split_once("</") {
            depth -= 1;
            let opened = lines.last_mut().filter(|line| line.trim_start() == format!("<{close}"));
            match opened {
                Some(opened) => opened.push_str(piece),
                None => lines.push(format!("{}{piece}", "  ".repeat(depth))),
            }
            continue;
        }
        lines.push(format!("{}{piece}", "  ".repeat(depth)));
        if !piece.starts_with("<?") && !piece.ends_with("/>") {
            depth += 1;
        }
    }
    lines.join("\n") + "\n"
}

/// The text with everything that is random or a time replaced by what it is: `{ami-1}`, `{time}`.
pub fn stable(text: &str) -> String {
    let mut seen: Vec<(&str, String)> = Vec::new();
    let mut stable = String::with_capacity(text.len());
    for (word, rest) in words(text) {
        match kind_of(word) {
            Some(kind) if !kind.is_numbered => {
                write!(stable, "{{{}}}", kind.name).expect("strings take everything");
            }
            Some(kind) => {
                let known = seen.iter().find(|(value, _)| *value == word).map(|(_, name)| name.clone());
                let name = known.unwrap_or_else(|| {
                    let count = seen.iter().filter(|(value, _)| kind_of(value) == Some(kind)).count();
                    let name = format!("{{{}-{}}}", kind.name, count + 1);
                    seen.push((word, name.clone()));
                    name
                });
                stable.push_str(&name);
            }
            None => stable.push_str(word),
        }
        stable.push_str(rest);
    }
    stable
}

/// Runs of what ids, times and addresses are made of, each with what follows up to the next.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
        let word_end = left.find(|c| !in_word(c)).unwrap_or(left.len());
        let (word, after) = left.split_at(word_end);
        let rest_end = after.find(in_word).unwrap_or(after.len());
        let (rest, next) = after.split_at(rest_end);
        left = next;
        Some((word, rest))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind<'a> {
    name: &'a str,
    is_numbered: bool,
}

fn kind_of(word: &str) -> Option<Kind<'_>> {
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let numbered = |name| Some(Kind { name, is_numbered: true });
    let plain = |name| Some(Kind { name, is_numbered: false });
    let is_uuid = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if is_uuid && word.split('-').all(is_hex) {
        return numbered("uuid");
    }
    if let Some((prefix, digits)) = word.rsplit_once('-')
        && digits.len() == 17
        && is_hex(digits)
    {
        return numbered(prefix);
    }
    if word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit()) {
        return numbered("account");
    }
    if word.len() == 24 && word.starts_with("20") && word.ends_with('Z') && word.contains('T') {
        return plain("time");
    }
    let is_pairs = word.len() > 2 && word.split(':').all(|pair| pair.len() == 2 && is_hex(pair));
    match word.split(':').count() {
        6 if is_pairs => plain("mac"),
        16.. if is_pairs => plain("fingerprint"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_from_run_to_run_is_named() {
        let text = "<a>ami-0123456789abcdef0</a> ami-0123456789abcdef1 (ami-0123456789abcdef0) \
                    2026-11-21T08:00:00.000Z 111122223333 02:00:ac:1f:00:04 10.0.0.1 t3.micro";
        let expected = "<a>{ami-1}</a> {ami-2} ({ami-1}) {time} {account-1} {mac} 10.0.0.1 t3.micro";
        assert_eq!(stable(text), expected);
    }

    #[test]
    fn documents_are_shown_one_element_a_line() {
        let xml = "<?xml version=\"1.0\"?>\n<r><a>1</a><set><item><b>x</b></item></set><e/><f></f></r>";
        let lines = [
            "<?xml version=\"1.0\"?>",
            "<r>",
            "  <a>1</a>",
            "  <set>",
            "    <item>",
            "      <b>x</b>",
            "    </item>",
            "  </set>",
            "  <e/>",
            "  <f></f>",
            "</r>\n",
        ];
        assert_eq!(pretty(xml), lines.join("\n"));
    }
}
