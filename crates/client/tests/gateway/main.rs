//! The client against a real gateway process, real clients of Socket.IO, and connections that break.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod calls;
mod connecting;
mod retries;
mod streams;
mod support;
