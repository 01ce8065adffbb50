//! Set-up of `tests/stubs`: back ends in other languages, with stubs generated from the proto as the README says.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Where the programs of [`set_up`] are.
pub(crate) fn python_bin() -> PathBuf {
    workspace::cache().join("python/bin")
}

/// Finds Go, and makes a virtual environment with the pinned Python packages of the tests.
///
/// # Errors
/// With what to install.
pub(crate) fn set_up() -> Result<()> {
    succeeds(Command::new("go").arg("version")).context("install Go 1.24 or later")?;
    let bin = python_bin();
    if !bin.join("pip").exists() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(workspace::cache().join("python"));
        succeeds(&mut create).context("install Python 3.10 or later, with venv")?;
    }
    let requirements = workspace::root().join("tests/stubs/requirements.txt");
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    succeeds(Command::new(bin.join("pip")).args(install).arg(requirements))
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
