//! Nodes on a model of Redis: what is published, asked and answered between them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod asks;
mod broadcasts;
mod keys;
mod redis;
