//! JSON objects written key by key.

use std::fmt::Display;

use crate::json::push_string;
use crate::number::push_integer;

/// An object that is being appended to a buffer.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Appends a key; the caller appends its value, one JSON value, to what this returns.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        push_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn string(&mut self, key: &str, text: &str) {
        push_string(self.key(key), text);
    }

    /// A number or a boolean, which print as in JSON.
    pub(crate) fn plain(&mut self, key: &str, value: impl Display) {
        push_integer(self.key(key), value);
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}
