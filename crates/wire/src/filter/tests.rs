use proptest::prelude::*;

use super::*;

struct Item {
    id: &'static str,
    size: Option<u32>,
    public: bool,
    tags: Vec<(&'static str, &'static str)>,
}

const TABLE: Table<Item> = Table {
    names: &[("id", |i| one(i.id)), ("is-public", |i| one(i.public)), ("size", |i| opt(i.size))],
    tags: Some(|i| i.tags.clone()),
};

fn filter(name: &str, values: &[&str]) -> Filter {
    Filter { name: name.into(), values: values.iter().map(|&v| v.to_owned()).collect() }
}

fn passes(asked: &[Filter]) -> bool {
    let item = Item { id: "ami-1", size: None, public: true, tags: vec![("Name", "web 1"), ("empty", "")] };
    Filters::parse(asked, &TABLE).unwrap().matches(&item)
}

#[test]
fn names_and_together_and_values_or() {
    assert!(passes(&[]));
    assert!(passes(&[filter("id", &["ami-2", "ami-1"]), filter("is-public", &["true"])]));
    assert!(!passes(&[filter("id", &["ami-1"]), filter("is-public", &["false"])]));
    assert!(!passes(&[filter("id", &["ami-1"]), filter("id", &["ami-2"])]));
    assert!(!passes(&[filter("size", &["*"])]), "an absent value matches nothing");
    assert!(!passes(&[filter("id", &["AMI-1"])]), "values are case-sensitive");
}

#[test]
fn tags_match_by_key_and_value() {
    assert!(passes(&[filter("tag:Name", &["web ?"])]));
    assert!(passes(&[filter("tag:empty", &[""])]));
    assert!(!passes(&[filter("tag:Name", &[""])]));
    assert!(!passes(&[filter("tag:name", &["web 1"])]));
    assert!(passes(&[filter("tag-key", &["N*"]), filter("tag-value", &["web*"])]));
    assert!(!passes(&[filter("tag-key", &["web 1"])]));
}

#[test]
fn values_without_wildcards_are_told() {
    let asked = [
        filter("id", &["a", r"b\*"]),
        filter("size", &["1", "2*"]),
        filter("tag:Name", &["web 1"]),
        filter("tag-key", &["Name"]),
        filter("id", &["?"]),
    ];
    let filters = Filters::parse(&asked, &TABLE).unwrap();
    let exact: Vec<_> = filters.exact().collect();
    assert_eq!(exact, [(Name::Listed("id"), vec!["a", "b*"]), (Name::Tag("Name"), vec!["web 1"])]);
    let reads_tags = |asked: &[Filter]| Filters::parse(asked, &TABLE).unwrap().read_tags();
    assert!(!reads_tags(&asked[..2]) && !reads_tags(&[]));
    assert!(
        reads_tags(&asked[2..3]) && reads_tags(&asked[3..]) && reads_tags(&[filter("tag-value", &["*"])])
    );
}

#[test]
fn unknown_names_and_too_many_values_are_refused() {
    let fault = |asked: &[Filter], table| {
        let fault = Filters::parse(asked, table).unwrap_err();
        (fault.code, fault.message)
    };
    let unknown = (Code::InvalidParameterValue, "The filter 'Id' is invalid".to_owned());
    assert_eq!(fault(&[filter("Id", &["x"])], &TABLE), unknown);
    let untagged = Table::<Item> { tags: None, ..TABLE };
    assert_eq!(fault(&[filter("tag:a", &["x"])], &untagged).1, "The filter 'tag:a' is invalid");
    assert_eq!(fault(&[filter("id", &[])], &TABLE).0, Code::InvalidParameterValue);
    let many = filter("id", &["x"; 200]);
    assert!(!passes(std::slice::from_ref(&many)));
    assert_eq!(fault(&[many, filter("size", &["1"])], &TABLE).0, Code::FilterLimitExceeded);
    let long = "é".repeat(256);
    assert!(Pattern::parse(&long).unwrap().matches(&long));
    assert!(Pattern::parse(&format!("{long}x")).is_err());
}

#[test]
fn wildcards_and_escapes_match_as_documented() {
    let cases = [
        (r"\*amazon\?\\", r"*amazon?\", true),
        (r"\*amazon\?\\", "xamazony\\", false),
        ("a*", "a", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("a?c", "aéc", true),
        ("a?c", "ac", false),
        ("", "", true),
        ("*", "", true),
        ("?", "", false),
        ("**?**", "x", true),
        (r"a\b", r"a\b", true),
        (r"a\", r"a\", true),
        ("*.2026-11-??", "v1.2026-11-21", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(text), expected, "{pattern} {text}");
    }
}

#[test]
fn patterns_of_the_greatest_length_match_at_their_last_position() {
    let pattern = format!("{}*b", "?".repeat(254));
    let matches = |text: &str| Pattern::parse(&pattern).unwrap().matches(text);
    assert!(matches(&format!("{}b", "a".repeat(254))));
    assert!(!matches(&"a".repeat(255)));
    assert!(!matches(&format!("{}b", "a".repeat(253))));
}

/// The definition, as a recursion: right, and exponential.
fn matches_slowly(pattern: &[Option<char>], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((None, rest)), _) => (0..=text.len()).any(|skip| matches_slowly(rest, &text[skip..])),
        (Some((Some('?'), rest)), Some((_, more))) => matches_slowly(rest, more),
        (Some((Some(c), rest)), Some((d, more))) => c == d && matches_slowly(rest, more),
        (None, Some(_)) | (Some((Some(_), _)), None) => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
        let slow: Vec<_> = pattern.chars().map(|c| (c != '*').then_some(c)).collect();
        let text_chars: Vec<_> = text.chars().collect();
        prop_assert_eq!(Pattern::parse(&pattern).unwrap().matches(&text), matches_slowly(&slow, &text_chars));
    }

    #[test]
    fn an_escaped_text_matches_itself_only(text in "[ab*?\\\\]{0,8}", other in "[ab*?\\\\]{0,8}") {
        let escaped: String = text.chars().flat_map(|c| {
            let special = matches!(c, '*' | '?' | '\\');
            special.then_some('\\').into_iter().chain([c])
        }).collect();
        let pattern = Pattern::parse(&escaped).unwrap();
        prop_assert!(pattern.matches(&text));
        prop_assert_eq!(pattern.matches(&other), text == other);
    }
}
