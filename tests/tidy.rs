//! Fails when the code is no longer what ARCHITECTURE.md says of it: who knows whom, who does IO, what stays out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "tidy/limits.rs"]
mod limits;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/runbook.rs"]
mod runbook;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/vectors.rs"]
mod vectors;

use std::fs;
use std::path::Path;

/// Folders with packages of ours.
const FOLDERS: [&str; 5] = ["benches", "crates", "services", "tests", "xtask"];

/// Folders with nothing of ours: what tools leave, the servers that ours is measured beside, and the clients of others.
const FOREIGN: [&str; 4] = ["node_modules", "other-languages", "peers", "target"];

/// Text files of the repository whose name ends with `suffix`: path from the root, and content.
fn files(suffix: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && name.ends_with(suffix) {
                let path = entry.path();
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// One file of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)).unwrap()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
