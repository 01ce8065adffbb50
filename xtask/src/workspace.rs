//! Where things lie in the repository, and cargo as it called us.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// What set-up fetches and tests leave; ignored by git.
pub(crate) fn cache() -> PathBuf {
    root().join(".cache")
}

/// The gateway as `profile` (`debug` or `release`) builds it.
pub(crate) fn gateway(profile: &str) -> PathBuf {
    // A relative target directory is meant from where cargo was called, and so are we.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join("roomcast-gateway")
}

/// The cargo that runs this task, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}
