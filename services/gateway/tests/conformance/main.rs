//! Black-box conformance: what only the real process can show, proved over its ports.

mod errors_eio4;
mod harness;
