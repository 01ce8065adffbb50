//! Keys of the publish API, made and hashed for whoever writes `grpc.auth.keys_file`.

use std::io::{Read as _, stdin};

use anyhow::{Context as _, ensure};

/// Longest key that is read, in bytes: some kilobytes more than anyone types.
const KEY_BYTES_MAX: u64 = 4096;

/// Prints a new key to standard error, and its entry to standard output, which may be appended to the file.
pub(crate) fn generate(name: &str) -> anyhow::Result<()> {
    let key = publish::new_key(rand::random());
    let line = publish::hash_line(&key).map_err(anyhow::Error::msg)?;
    eprintln!("{key}");
    println!("[[keys]]\nname = {}\n{line}", toml::Value::from(name));
    println!("namespaces = [\"/\"]\nrooms = [\"*\"]\noperations = [\"publish\"]");
    Ok(())
}

/// Reads a key or password, one line, and prints its line of an entry.
pub(crate) fn hash() -> anyhow::Result<()> {
    let mut key = String::new();
    stdin()
        .take(KEY_BYTES_MAX)
        .read_to_string(&mut key)
        .context("cannot read the key from standard input")?;
    let key = key.trim_end_matches(['\r', '\n']);
    ensure!(!key.is_empty(), "no key on standard input");
    println!("{}", publish::hash_line(key).map_err(anyhow::Error::msg)?);
    Ok(())
}
