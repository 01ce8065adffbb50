//! A source file as the compiler reads it, without its tests: comments, strings and `#[cfg(test)]` items are no code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file without its tests.
pub(crate) struct Code {
    /// Identifiers, punctuation (one character each), brackets and literals, with their line, from 1.
    pub(crate) tokens: Vec<(String, usize)>,
    /// Lines of the file less those of its tests.
    pub(crate) lines: usize,
    /// Modules in files of their own that exist for tests only.
    pub(crate) test_modules: Vec<String>,
}

impl Code {
    /// Reads a source file.
    pub(crate) fn read(text: &str) -> Self {
        let stream: TokenStream = text.parse().expect("the compiler reads it too");
        let mut code = Self { tokens: Vec::new(), lines: text.lines().count(), test_modules: Vec::new() };
        code.add(stream);
        code
    }

    fn add(&mut self, stream: TokenStream) {
        let trees: Vec<_> = stream.into_iter().collect();
        let mut rest = trees.as_slice();
        while let Some((tree, after)) = rest.split_first() {
            rest = match is_cfg_test(rest) {
                true => self.skip_item(rest),
                false => {
                    self.add_tree(tree);
                    after
                }
            };
        }
    }

    fn add_tree(&mut self, tree: &TokenTree) {
        let line = tree.span().start().line;
        let TokenTree::Group(group) = tree else { return self.tokens.push((tree.to_string(), line)) };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        self.tokens.push((open.to_owned(), line));
        self.add(group.stream());
        self.tokens.push((close.to_owned(), group.span_close().start().line));
    }

    /// Leaves out the item that `rest` begins with, up to its body or semicolon; returns what follows it.
    fn skip_item<'t>(&mut self, rest: &'t [TokenTree]) -> &'t [TokenTree] {
        let ends = |tree: &TokenTree| match tree {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        let end = rest.iter().position(ends).map_or(rest.len(), |index| index + 1);
        let (item, after) = rest.split_at(end);
        if let [.., TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Punct(_)] = item
            && keyword == "mod"
        {
            self.test_modules.push(name.to_string());
        }
        if let [first, .., last] = item {
            let lines = last.span().end().line + 1 - first.span().start().line;
            self.lines = self.lines.saturating_sub(lines);
        }
        after
    }
}

/// Whether `#[cfg(test)]`, or a condition that demands it, comes next.
fn is_cfg_test(trees: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = trees else { return false };
    let text = attribute.stream().to_string().replace(' ', "");
    hash.as_char() == '#' && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

#[test]
fn tests_comments_and_strings_are_no_code() {
    let code = Code::read(
        "/// dbg!(1)\nfn f() { g(\"dbg!\") } // dbg!\n#[cfg(test)]\nmod far;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n  \
         fn h() { dbg!(1) }\n}\n#[cfg(not(test))]\nfn last() {}\n",
    );
    assert!(!code.tokens.iter().any(|(token, _)| token == "dbg"));
    assert!(code.tokens.contains(&("last".to_owned(), 11)));
    assert_eq!(code.test_modules, ["far"]);
    assert_eq!(code.lines, 4);
}
