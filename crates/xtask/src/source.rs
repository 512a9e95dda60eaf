//! What one Rust file says, as far as rules ask: paths, method calls, strings, names, attributes.
//!
//! Comments are not seen. Code under `#[cfg(test)]` is only measured.

use anyhow::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// Something said, and the line it is said on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) line: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) line_count: usize,
    /// Paths as written, and every path that `use` brings in, spelled out.
    pub(crate) paths: Vec<Said>,
    pub(crate) methods: Vec<Said>,
    /// String literals; those of doc comments are left out.
    pub(crate) strings: Vec<Said>,
    /// Names that are given here: types, variants, fields, functions, constants.
    pub(crate) names: Vec<Said>,
    /// Attributes without blanks.
    pub(crate) attributes: Vec<Said>,
    /// Lines with `async` or `.await`.
    pub(crate) asyncs: Vec<usize>,
    /// Inline test modules and the lines each is long.
    pub(crate) test_modules: Vec<(usize, usize)>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let file = syn::parse_file(text)?;
        let mut source = Self { path: path.to_owned(), line_count: text.lines().count(), ..Self::default() };
        source.visit_file(&file);
        Ok(source)
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let in_tests = self.path.starts_with("tests/") || self.path.contains("/tests/");
        in_tests || self.path.ends_with("/tests.rs") || self.is_in("testkit") || self.is_in("proof")
    }

    pub(crate) fn is_in(&self, package: &str) -> bool {
        self.path
            .strip_prefix("crates/")
            .and_then(|rest| rest.strip_prefix(package))
            .is_some_and(|r| r.starts_with('/'))
    }

    fn path(&mut self, text: String, line: usize) {
        self.paths.push(Said { text, line });
    }

    fn name(&mut self, ident: &syn::Ident) {
        self.names.push(Said { text: ident.to_string(), line: ident.span().start().line });
    }

    fn use_tree(&mut self, prefix: &str, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&format!("{prefix}{}::", path.ident), &path.tree),
            syn::UseTree::Name(name) => self.used(prefix, &name.ident),
            syn::UseTree::Rename(rename) => self.used(prefix, &rename.ident),
            syn::UseTree::Glob(glob) => self.path(format!("{prefix}*"), glob.span().start().line),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(prefix, item)),
        }
    }

    fn used(&mut self, prefix: &str, ident: &syn::Ident) {
        let line = ident.span().start().line;
        if ident == "self" {
            self.path(prefix.trim_end_matches(':').to_owned(), line);
        } else {
            self.path(format!("{prefix}{ident}"), line);
        }
    }

    /// Macros hide their arguments from the parser: paths, calls and strings are picked from the tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut path = String::new();
        for (index, tree) in trees.iter().enumerate() {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    if word == "async" || word == "await" {
                        self.asyncs.push(line);
                    }
                    if is_punct(trees.get(index.wrapping_sub(1)), '.') && is_call(trees.get(index + 1)) {
                        self.methods.push(Said { text: word.clone(), line });
                    }
                    path.push_str(&word);
                    if !is_punct(trees.get(index + 1), ':') || !is_punct(trees.get(index + 2), ':') {
                        self.path(std::mem::take(&mut path), line);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => path.push(':'),
                TokenTree::Punct(_) => path.clear(),
                TokenTree::Literal(literal) => {
                    path.clear();
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.strings.push(Said { text: text.value(), line });
                    }
                }
                TokenTree::Group(group) => {
                    path.clear();
                    self.tokens(group.stream());
                }
            }
        }
    }
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_call(tree: Option<&TokenTree>) -> bool {
    matches!(tree, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| spelled(attribute) == "cfg(test)")
}

/// Those of the items that are written for tests alone; modules are looked at apart.
#[expect(clippy::wildcard_enum_match_arm, reason = "other kinds of items are not written for tests alone")]
fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

/// An attribute's text without blanks.
fn spelled(attribute: &syn::Attribute) -> String {
    attribute.meta.to_token_stream().to_string().split_whitespace().collect()
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_cfg_test(&item.attrs) {
            if item.content.is_some() {
                let (first, last) = (item.span().start().line, item.span().end().line);
                self.test_modules.push((first, last - first + 1));
            }
            return;
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_cfg_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(words.join("::"), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.methods.push(Said { text: call.method.to_string(), line: call.method.span().start().line });
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.strings.push(Said { text: literal.value(), line: literal.span().start().line });
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.visit_path(&mac.path);
        self.tokens(mac.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.attributes.push(Said { text: spelled(attribute), line: attribute.span().start().line });
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.name(&signature.ident);
        if let Some(word) = signature.asyncness {
            self.asyncs.push(word.span().start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.asyncs.push(block.span().start().line);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.asyncs.push(expr.await_token.span().start().line);
        visit::visit_expr_await(self, expr);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.name(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.name(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.name(&item.ident);
        visit::visit_impl_item_const(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.name(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.name(ident);
        }
        visit::visit_field(self, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(said: &[Said]) -> Vec<&str> {
        said.iter().map(|s| s.text.as_str()).collect()
    }

    fn parse(text: &str) -> Source {
        Source::parse("crates/a/src/lib.rs", text).unwrap()
    }

    #[test]
    fn uses_are_spelled_out() {
        let source = parse("use std::{fs::{self, File}, net::*}; use tokio::process::Command as Run;");
        assert_eq!(
            texts(&source.paths),
            ["std::fs", "std::fs::File", "std::net::*", "tokio::process::Command"]
        );
    }

    #[test]
    fn paths_calls_and_strings_are_seen_in_code_and_in_macros() {
        for text in [
            "fn f() { std::fs::rename(a, \"x\"); file.sync_all(); }",
            "fn f() { wrap!(std::fs::rename(a, \"x\"), file.sync_all()); }",
        ] {
            let source = parse(text);
            assert!(texts(&source.paths).contains(&"std::fs::rename"), "{text}");
            assert_eq!(texts(&source.methods), ["sync_all"], "{text}");
            assert_eq!(texts(&source.strings), ["x"], "{text}");
        }
    }

    #[test]
    fn comments_documents_and_tests_are_not_code() {
        let source =
            parse("//! std::fs\n/// \"SELECT\"\nfn f() {}\n#[cfg(test)]\nmod tests {\n fn g() { h::i() }\n}");
        assert_eq!(source.paths, []);
        assert_eq!(source.strings, []);
        assert_eq!(texts(&source.names), ["f"]);
        assert_eq!(source.test_modules, [(4, 4)]);
    }

    #[test]
    fn async_is_seen_wherever_it_stands() {
        for text in [
            "async fn f() {}",
            "fn f() { g(async {}) }",
            "fn f() { h!(x.await) }",
            "fn f() { async { x.await } }",
        ] {
            assert!(!parse(text).asyncs.is_empty(), "{text}");
        }
    }

    #[test]
    fn test_files_are_known_by_their_path() {
        let at = |path: &str| Source::parse(path, "").unwrap().is_test();
        assert!(
            at("crates/a/src/b/tests.rs") && at("crates/a/tests/all.rs") && at("crates/testkit/src/lib.rs")
        );
        assert!(!at("crates/a/src/tests_of_b.rs"));
    }
}
