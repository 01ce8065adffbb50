//! This process among others: its number, and the key that its session ids are made with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// This process among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeConfig {
    /// The number that session ids carry to name this node. Default: drawn at start.
    pub(crate) id: Option<u16>,
    /// Its name in logs and answers of the publish API. Default: the host's.
    pub(crate) name: Option<String>,
    /// File with the key that authenticates session ids, the same on all gateways: 64 hex digits, as
    /// `openssl rand -hex 32` writes them. Default: a key per process, so that a restart forgets its sessions.
    pub(crate) secret_file: Option<PathBuf>,
}

impl NodeConfig {
    /// What operators call this node.
    pub(crate) fn name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(host)
    }

    /// The key in `secret_file`; `None` when no file is configured.
    ///
    /// # Errors
    /// In words: the file cannot be read, or does not hold a key.
    pub(crate) fn read_secret(&self) -> Result<Option<[u8; 32]>, String> {
        self.secret_file.as_deref().map(read_key).transpose()
    }
}

fn read_key(path: &Path) -> Result<[u8; 32], String> {
    let text = std::fs::read(path).map_err(|error| format!("{error}; allowed: a file that can be read"))?;
    parse_key(text.trim_ascii())
        .ok_or_else(|| "allowed: a file with 64 hex digits (openssl rand -hex 32)".into())
}

fn parse_key(text: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 2 * key.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hex_digits_and_white_space_around_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let read = |text: String| {
            std::fs::write(&path, text).unwrap();
            NodeConfig { secret_file: Some(path.clone()), ..NodeConfig::default() }.read_secret()
        };
        assert_eq!(
            read(format!("{}\n", "0aF1".repeat(16))),
            Ok(Some([0x0a, 0xf1].repeat(16).try_into().unwrap()))
        );
        for wrong in [String::new(), "0".repeat(63), "0".repeat(65), "g".repeat(64), "é".repeat(32)] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(NodeConfig::default().read_secret(), Ok(None));
    }
}
