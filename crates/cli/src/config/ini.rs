//! The format of AWS config and credentials files: sections, keys, and one level of nesting.

use std::collections::BTreeMap;

pub(crate) type Values = BTreeMap<String, String>;

/// One `[section]`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) values: Values,
    /// What stands indented below a key without a value.
    pub(crate) nested: BTreeMap<String, Values>,
}

impl Section {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Sections by name, quotes and repeated spaces taken off. Lines that mean nothing are passed over, and a key
/// that occurs twice counts as its last.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Section> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut section: Option<&mut Section> = None;
    let mut parent: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = section_name(line) {
            section = Some(sections.entry(name).or_default());
            parent = None;
            continue;
        }
        let (Some(section), Some((key, value))) = (section.as_deref_mut(), trimmed.split_once('=')) else {
            continue;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_owned());
        let is_indented = line.starts_with([' ', '\t']);
        if let (true, Some(parent)) = (is_indented, &parent) {
            section.nested.entry(parent.clone()).or_default().insert(key, value);
        } else {
            parent = value.is_empty().then(|| key.clone());
            section.values.insert(key, value);
        }
    }
    sections
}

fn section_name(line: &str) -> Option<String> {
    let inside = line.strip_prefix('[')?.split(']').next()?;
    let words: Vec<&str> = inside.split_whitespace().collect();
    Some(words.join(" ").replace(['"', '\''], ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_keys_belong_to_the_key_above() {
        let text = "# c\n[profile \"a b\"]\nregion = eu-west-1\nservices=local\n\n[services local]\nec2 =\n  endpoint_url = http://h:1\nebs =\n\tendpoint_url=http://h:2\n";
        let sections = parse(text);
        assert_eq!(sections["profile a b"].get("region"), Some("eu-west-1"));
        let services = &sections["services local"];
        assert_eq!(services.nested["ec2"]["endpoint_url"], "http://h:1");
        assert_eq!(services.nested["ebs"]["endpoint_url"], "http://h:2");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[\\[\\]= \na-c#\"\t]{0,200}") {
            parse(&text);
        }
    }
}
