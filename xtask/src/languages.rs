//! Set-up of `tests/clients/other-languages`: the programs of the clients in Rust, Go and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::run;
use crate::workspace::{cache, cargo, root};

/// Where the programs are.
pub(crate) fn bin() -> PathBuf {
    cache().join("other-languages")
}

/// Builds the client in Rust, which has dependencies of its own and so a target folder.
///
/// # Errors
/// When cargo fails; its own words are on stderr.
pub(crate) fn rust() -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--manifest-path"]);
    build.arg(sources().join("rust/Cargo.toml")).arg("--target-dir").arg(bin().join("rust"));
    run(&mut build)
}

/// Builds the client in Go.
///
/// # Errors
/// With what to install; what Go itself says is on stderr.
pub(crate) fn go() -> Result<()> {
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(bin().join("go/client")).arg(".").current_dir(sources().join("go"));
    run(&mut build).context("install Go 1.26 or later")
}

/// Makes a virtual environment with the client in Python.
///
/// # Errors
/// With what to install.
pub(crate) fn python() -> Result<()> {
    virtual_environment(&bin().join("python"), &sources().join("python/requirements.txt"))
}

/// Makes a virtual environment at `folder`, unless it is there, with the packages that `requirements` pins.
///
/// # Errors
/// With what to install.
pub(crate) fn virtual_environment(folder: &Path, requirements: &Path) -> Result<()> {
    let pip = folder.join("bin/pip");
    if !pip.exists() {
        let mut create = Command::new("python3");
        run(create.args(["-m", "venv"]).arg(folder)).context("install Python 3.10 or later, with venv")?;
    }
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(pip).args(install).arg(requirements))
}

fn sources() -> PathBuf {
    root().join("tests/clients/other-languages")
}
