//! MessagePack as notepack.io writes and reads it: what the Node adapters and emitters speak.
//!
//! Our own, because the meaning of a value depends on how it was written: `d4 00 00` is `undefined` and
//! `c7 01 00 00` one byte of an old `Uint8Array`, which crates for MessagePack give as the same extension;
//! and the smallest forms, which are what makes messages equal to those of Node, take no more lines here
//! than the calls would.

mod extension;
mod reader;
mod writer;

pub(crate) use extension::Extension;
pub(crate) use reader::{Reader, Token};
pub(crate) use writer::{
    array, bin, boolean, close_array, close_map, float, integer, map, nil, open, str, unsigned,
};
