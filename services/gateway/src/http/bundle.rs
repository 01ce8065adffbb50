//! The Socket.IO client bundle, served from memory.

use std::{collections::HashMap, fs, io, path::Path};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::answer::{self, Answer};

/// Largest file that is taken for a part of the bundle, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files of the bundle by the last part of their path.
pub(crate) struct Bundle(HashMap<String, BundleFile>);

pub(super) struct BundleFile {
    content: Bytes,
    content_type: &'static str,
    etag: HeaderValue,
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
    pub(super) fn find(&self, path: &str) -> Option<&BundleFile> {
        path.rsplit_once('/').and_then(|(_, name)| self.0.get(name))
    }
}

impl BundleFile {
    pub(super) fn answer(&self, method: &Method, request: &HeaderMap) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        // A browser that revalidates may weaken the tag.
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|tags| {
            let tags = String::from_utf8_lossy(tags.as_bytes());
            tags.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == self.etag.as_bytes())
        });
        let mut answer = match known {
            true => answer::empty(StatusCode::NOT_MODIFIED),
            false => answer::typed(StatusCode::OK, self.content_type, self.content.clone()),
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(header::ETAG, self.etag.clone());
        answer
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
