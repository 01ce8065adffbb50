//! The reasons for which a gateway is unready, in the runbook. They are a private type of the gateway: read here.

use std::collections::BTreeSet;

use crate::file;
use crate::tokens::Code;

/// The variants of an enum without fields, as serde writes them in snake case.
fn variants(code: &Code, name: &str) -> BTreeSet<String> {
    let tokens: Vec<_> = code.tokens.iter().map(|(token, _)| token.as_str()).collect();
    let start =
        tokens.windows(3).position(|window| window == ["enum", name, "{"]).expect("there is such an enum");
    let body = tokens[start + 3..].iter().take_while(|token| **token != "}");
    // Documentation is an attribute to the compiler, in brackets.
    let is_variant = |token: &&&str| token.starts_with(|c: char| c.is_ascii_uppercase());
    body.filter(is_variant).map(|variant| snake_case(variant)).collect()
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_reason_to_be_unready_is_in_the_runbook() {
    let known = variants(&Code::read(&file("services/gateway/src/admin.rs")), "Unready");
    let runbook = file("docs/runbook.md");
    let (_, section) = runbook.split_once("\n## Unready reasons\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let headings = section.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), known);
}

#[test]
fn variants_are_read_from_between_their_documentation() {
    let code = Code::read(
        "enum Other { X }\nenum Unready {\n /// Why. Not.\n ShardFailed,\n #[serde(x)] Draining }",
    );
    assert_eq!(variants(&code, "Unready"), ["draining".to_owned(), "shard_failed".to_owned()].into());
}
