//! Generates types, client and server from `proto/`, without `protoc`.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const ROOT: &str = "../../proto";
const FILES: [&str; 1] = ["roomcast/v1/publish.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let descriptors = protox::compile(FILES, [ROOT])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.binpb"), descriptors.encode_to_vec())?;
    // `Bytes`, so that an attachment is a slice of the request and not a copy of it.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
