//! JSON text read in one pass, for conversion and for the messages that are JSON.
//!
//! Not serde_json's reader, which refuses the lone surrogates that browsers send (`"\ud800"`) and numbers
//! such as `1e400`; strings are written by serde_json.

mod object;
mod placeholders;
mod plain;
mod reader;
mod text;

pub(crate) use object::Object;
pub(crate) use placeholders::{Placeholder, placeholders};
pub(crate) use reader::{Reader, Token, check};
pub(crate) use text::{Text, push_string, push_text};
