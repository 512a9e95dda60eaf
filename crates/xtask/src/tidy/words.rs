//! Words that must not be in the repository.

use super::{Breach, Rule, short};
use crate::repo::Repo;

pub(super) const RULES: &[Rule] = &[("unfinished", unfinished), ("strange-words", strange_words)];

/// Marks of unfinished work; each is spelled in two parts so that this file has none.
const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X:"),
    concat!("HA", "CK"),
    concat!("#[ig", "nore"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("pytest.mark.", "skip"),
    concat!("pytest.mark.", "xfail"),
];

/// What tells of the place where the code was written, or binds it to somebody's server.
const STRANGE: &[&str] = &[
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("npm", "js.com"),
    concat!("npm", "js.org"),
    concat!("crates", ".io/"),
    concat!("deb.debian", ".org"),
    concat!("/work", "/main"),
    concat!("/work", "/shared"),
    concat!("/ro", "ot/."),
    concat!("Clau", "de"),
    concat!("Anthr", "opic"),
];

/// Files that a tool writes.
fn is_generated(path: &str) -> bool {
    path.ends_with("Cargo.lock") || path.ends_with("package-lock.json")
}

fn find(repo: &Repo, words: &[&str], why: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, text) in repo.texts().filter(|(path, _)| !is_generated(path)) {
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                breaches.push(Breach::on(path, index + 1, format!("`{word}` in `{}`: {why}", short(line))));
            }
        }
    }
    breaches
}

fn unfinished(repo: &Repo) -> Vec<Breach> {
    find(repo, UNFINISHED, "finish it, or leave it out")
}

fn strange_words(repo: &Repo) -> Vec<Breach> {
    find(repo, STRANGE, "does not belong into the product")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    #[test]
    fn every_word_is_found_in_any_text_file() {
        for (rule, words) in [(unfinished as fn(&Repo) -> Vec<Breach>, UNFINISHED), (strange_words, STRANGE)]
        {
            for word in words {
                let text = format!("first line\n# {word} and more\n");
                let breaches = rule(&planted(&[("docs/a.md", text.as_str()), ("Cargo.lock", text.as_str())]));
                assert_eq!(
                    breaches.iter().map(|b| (b.place.as_str(), b.line)).collect::<Vec<_>>(),
                    [("docs/a.md", 2)]
                );
            }
        }
    }

    #[test]
    fn ordinary_text_passes() {
        let repo = planted(&[("a.md", "to do it right, fix what is broken; crates, debian")]);
        assert_eq!((unfinished(&repo), strange_words(&repo)), (vec![], vec![]));
    }
}
