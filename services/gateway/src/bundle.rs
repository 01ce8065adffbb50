//! The Socket.IO client bundle, read once and kept in memory.

use std::{collections::HashMap, fs, io, path::Path};

use bytes::Bytes;
use http::HeaderValue;

/// Largest file that is taken for a part of the bundle, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files of the bundle by the last part of their path.
pub(crate) struct Bundle(HashMap<String, BundleFile>);

/// One file, and how it is served.
pub(crate) struct BundleFile {
    pub(crate) content: Bytes,
    pub(crate) content_type: &'static str,
    pub(crate) etag: HeaderValue,
}

impl Bundle {
    /// Reads the files `socket.io*.js` and their maps of a directory.
    ///
    /// # Errors
    /// When the directory or one of the files cannot be read.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let mut files = HashMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let content_type = match () {
                () if !name.starts_with("socket.io") => continue,
                () if name.ends_with(".js") => "application/javascript; charset=utf-8",
                () if name.ends_with(".js.map") => "application/json; charset=utf-8",
                () => continue,
            };
            if entry.metadata()?.len() <= FILE_BYTES_MAX {
                let content = fs::read(entry.path())?;
                let etag = etag(&content);
                files.insert(name, BundleFile { content: content.into(), content_type, etag });
            }
        }
        Ok(Self(files))
    }

    /// The file that a request path under the Engine.IO path names.
    pub(crate) fn find(&self, path: &str) -> Option<&BundleFile> {
        path.rsplit_once('/').and_then(|(_, name)| self.0.get(name))
    }
}

/// The version that the file states in its first lines, as the reference server tags it; else its length.
fn etag(content: &[u8]) -> HeaderValue {
    let head = String::from_utf8_lossy(&content[..content.len().min(256)]).into_owned();
    let version = head.split_once("Socket.IO v").map(|(_, rest)| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect::<String>()
    });
    let tag = version.filter(|version| !version.is_empty()).unwrap_or_else(|| format!("{:x}", content.len()));
    HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_version_that_the_file_states() {
        assert_eq!(etag(b"/*!\n * Socket.IO v4.8.4\n * (c)"), "\"4.8.4\"");
        assert_eq!(etag(b"{}"), "\"2\"");
    }
}
