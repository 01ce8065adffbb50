//! `cargo xtask bench`: builds the gateway, its load and the servers it is compared with, and measures all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::{tools, workspace};

/// The crates whose instructions are counted, as one program: see `benches/counted`.
const COUNTED: &str = "roomcast-counted";

/// Sets everything up and passes `arguments` on to `roomcast-load run`.
///
/// # Errors
/// When ours does not build. A peer that does not is left out, and the results say so.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let packages = ["roomcast-gateway", "roomcast-publisher", "roomcast-benches"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let built = workspace::cargo(&["build", "--release"]).args(packages).status()?;
    ensure!(built.success(), "the gateway, the publisher or their load does not build");
    let peers = workspace::cache().join("peers");
    fs::create_dir_all(&peers)?;
    let set_up = [
        ("socketioxide", socketioxide(&peers)),
        ("Node", node(&peers)),
        ("Centrifuge", centrifuge(&peers)),
        ("Redis", tools::redis()),
    ];
    for (name, result) in set_up {
        if let Err(error) = result {
            eprintln!("xtask: measured without {name}: {error:#}");
        }
    }
    let load = workspace::gateway("release").with_file_name("roomcast-load");
    let status = Command::new(load)
        .args(["run", "--peers", ".cache/peers"])
        .args(arguments)
        .current_dir(workspace::root())
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the program that counts instructions, finds valgrind or installs it; returns the call that checks the counts.
///
/// # Errors
/// With what to install, or when it does not build.
pub(crate) fn counted() -> Result<Command> {
    tools::valgrind()?;
    let built = workspace::cargo(&["build", "--release", "--package", COUNTED]).status()?;
    ensure!(built.success(), "{COUNTED} does not build");
    let mut command = Command::new(workspace::gateway("release").with_file_name(COUNTED));
    command.arg("check").arg("benches/bounds.toml").current_dir(workspace::root());
    Ok(command)
}

fn source(peer: &str) -> PathBuf {
    workspace::root().join("benches/peers").join(peer)
}

fn socketioxide(peers: &Path) -> Result<()> {
    let target = peers.join("target");
    let manifest = source("socketioxide").join("Cargo.toml");
    let built = workspace::cargo(&["build", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        .status()?;
    ensure!(built.success(), "it does not build");
    fs::copy(target.join("release/socketioxide-peer"), peers.join("socketioxide-peer"))?;
    Ok(())
}

fn node(peers: &Path) -> Result<()> {
    tools::node()?;
    let folder = peers.join("node");
    fs::create_dir_all(&folder)?;
    fs::copy(source("node").join("server.mjs"), folder.join("server.mjs"))?;
    tools::install_locked(&source("node"), &folder)
}

fn centrifuge(peers: &Path) -> Result<()> {
    // Nothing but what go.sum names is built.
    let arguments = ["build", "-mod=readonly", "-trimpath", "-o"];
    let built = Command::new("go")
        .args(arguments)
        .arg(peers.join("centrifuge-peer"))
        .arg(".")
        .current_dir(source("centrifuge"))
        .status()
        .context("install Go")?;
    ensure!(built.success(), "it does not build");
    Ok(())
}
