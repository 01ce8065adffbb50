//! One JSON value with its binary parts.

use bytes::Bytes;

/// The first argument of an acknowledgement, or another single value: JSON text and binary parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// One JSON value.
    pub json: Bytes,
    /// Binary parts; `{"_placeholder":true,"num":n}` in `json` stands for number n. Without any, such
    /// objects are plain data.
    pub attachments: Vec<Bytes>,
}

impl Argument {
    /// `null`, which stands for a missing argument too.
    pub fn null() -> Self {
        Self { json: Bytes::from_static(b"null"), attachments: Vec::new() }
    }
}
