//! Set-up of `tests/stubs`: back ends in other languages, with stubs generated from the proto as the README says.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::languages::virtual_environment;
use crate::tools::run;
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
    run(Command::new("go").arg("version")).context("install Go 1.24 or later")?;
    let requirements = workspace::root().join("tests/stubs/requirements.txt");
    virtual_environment(&workspace::cache().join("python"), &requirements)
}
