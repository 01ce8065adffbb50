//! One JSON value with its binary parts.

use bytes::Bytes;
use socketio::DEPTH_CEILING;

use crate::json::{self, Token};

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

    /// The first of the arguments in `arguments`, a JSON array, with all their binary parts: what nodes pass on of
    /// an acknowledgement. `null` if there is none.
    pub fn first_of(arguments: &Self) -> Self {
        let first = || {
            let text = std::str::from_utf8(&arguments.json).ok()?;
            let mut reader = json::Reader::new(text);
            let Token::Array = reader.token().ok()? else { return None };
            reader.element(true).ok()?.then_some(())?;
            let value = reader.value(DEPTH_CEILING).ok()?;
            Some(arguments.json.slice_ref(value.as_bytes()))
        };
        match first() {
            Some(json) => Self { json, attachments: arguments.attachments.clone() },
            None => Self::null(),
        }
    }
}
