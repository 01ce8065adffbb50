//! What stays out of the sources, tests aside.

use crate::manifests::NO_IO;
use crate::tokens::Code;
use crate::{assert_none, files};

/// Longest source file without its tests, in lines.
const LINES_MAX: usize = 600;

/// Paths that do IO or read the clock.
const IO: [&str; 5] = ["Instant::now", "SystemTime::now", "thread::sleep", "std::fs", "std::net"];

/// Ways to leave something undone, to be removed before a commit, or to panic without a reason.
const UNFINISHED: [(&str, &[&str]); 3] =
    [("unwrap()", &[".", "unwrap", "(", ")"]), ("todo!", &["todo", "!"]), ("dbg!", &["dbg", "!"])];

/// The rules that a file breaks; a file of tests breaks none.
fn faults(path: &str, code: &Code) -> Vec<String> {
    let mut faults = Vec::new();
    if is_test(path) {
        return faults;
    }
    if code.lines > LINES_MAX {
        faults.push(format!("{path}: {} lines without its tests; allowed: {LINES_MAX}", code.lines));
    }
    for (name, sequence) in UNFINISHED {
        faults.extend(find(code, sequence).iter().map(|line| format!("{path}:{line}: {name} outside tests")));
    }
    if NO_IO.iter().any(|package| path.starts_with(&format!("crates/{package}/"))) {
        for name in IO {
            let (prefix, last) = name.split_once("::").unwrap();
            let lines = [find(code, &[prefix, ":", ":", last]), find_listed(code, prefix, last)].concat();
            faults.extend(
                lines.iter().map(|line| format!("{path}:{line}: {name}, where time and bytes are arguments")),
            );
        }
    }
    faults
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/")
}

/// The lines where `sequence` begins.
fn find(code: &Code, sequence: &[&str]) -> Vec<usize> {
    let matches =
        |window: &[(String, usize)]| window.iter().zip(sequence).all(|((token, _), wanted)| token == wanted);
    code.tokens.windows(sequence.len()).filter(|window| matches(window)).map(|window| window[0].1).collect()
}

/// The lines where `last` stands in the braces of `prefix::{…}`.
fn find_listed(code: &Code, prefix: &str, last: &str) -> Vec<usize> {
    let opening = [prefix, ":", ":", "{"];
    let mut lines = Vec::new();
    for (start, window) in code.tokens.windows(opening.len()).enumerate() {
        if window.iter().zip(opening).any(|((token, _), wanted)| token != wanted) {
            continue;
        }
        let mut depth = 1;
        let mut before = "{";
        for (token, line) in &code.tokens[start + opening.len()..] {
            if depth == 1 && token == last && ["{", ","].contains(&before) {
                lines.push(*line);
            }
            depth += i32::from(token == "{") - i32::from(token == "}");
            before = token;
            if depth == 0 {
                break;
            }
        }
    }
    lines
}

/// Where the modules of the file at `path` lie.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap();
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

#[test]
fn sources_do_no_hidden_io_leave_nothing_unfinished_and_stay_short() {
    let sources: Vec<_> = files(".rs").into_iter().map(|(path, text)| (path, Code::read(&text))).collect();
    assert!(sources.len() > 100, "the sources are not where they were");
    let test_modules: Vec<_> = sources
        .iter()
        .flat_map(|(path, code)| {
            let folder = module_folder(path);
            code.test_modules.iter().map(move |module| format!("{folder}/{module}"))
        })
        .collect();
    // A module that exists for tests only, and those below it.
    let is_test_module = |path: &str| {
        test_modules
            .iter()
            .any(|module| path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/'])))
    };
    let judged = sources.iter().filter(|(path, _)| !is_test_module(path));
    assert_none(&judged.flat_map(|(path, code)| faults(path, code)).collect::<Vec<_>>());
}

#[test]
fn each_rule_is_able_to_fail() {
    let check = |path: &str, text: &str, expected: &str| {
        let found = faults(path, &Code::read(text)).join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{path}, {text}: {found}");
        assert!(found.contains(expected), "{path}, {text}: {found}");
    };
    let (core, edge) = ("crates/broker/src/shard.rs", "services/gateway/src/app.rs");
    check(core, "fn f() -> Instant { self.now }", "");
    check(core, "fn f() { let now = Instant::now(); }", ":1: Instant::now");
    check(core, "fn f() { std::time::SystemTime\n::now() }", ":1: SystemTime::now");
    check(core, "use std::thread::sleep;", "thread::sleep");
    check(core, "use std::{collections::{HashMap, HashSet},\n fs};", ":2: std::fs");
    check(core, "use std::{collections::{fs}};", "");
    check(core, "use std::net::IpAddr;", "std::net");
    check(core, "macro_rules! m { () => { Instant::now() } }", "Instant::now");
    check(core, "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }", "");
    check("crates/broker/tests/rules.rs", "fn f() { Instant::now(); todo!() }", "");
    check(edge, "use std::fs; fn f() { Instant::now(); }", "");
    check(edge, "fn f() {\n  g()\n    .unwrap();\n}", ":3: unwrap() outside tests");
    check(edge, "fn f() { g().unwrap_or(1) }", "");
    check(edge, "fn f() { todo!(\"later\") }", "todo!");
    check(edge, "fn f() { dbg!(1); }", "dbg!");
    check(edge, &"fn f() {}\n".repeat(600), "");
    check(edge, &"fn f() {}\n".repeat(601), "601 lines");
    check(edge, &format!("#[cfg(test)]\nmod tests {{\n{}}}", "fn f() {}\n".repeat(700)), "");
    check("tests/sim/main.rs", &"fn f() {}\n".repeat(601), "");
    assert_eq!(module_folder("crates/rooms/src/lib.rs"), "crates/rooms/src");
    assert_eq!(module_folder("crates/broker/src/shard.rs"), "crates/broker/src/shard");
}
