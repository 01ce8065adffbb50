//! Set-up: what the demo and the client tests need beside Rust, found or installed, and a clear word when neither.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{cache, root};

const NODE_MAJOR_MIN: u32 = 18;
/// The first with sharded pub/sub.
const REDIS_MAJOR_MIN: u32 = 7;
const GRPCURL: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4";
/// Where Debian puts nginx; the tests start it from there.
const NGINX: &str = "/usr/sbin/nginx";
/// The same of HAProxy.
const HAPROXY: &str = "/usr/sbin/haproxy";
const CHROMIUM: &str = "/usr/bin/chromium";

/// Checks that Node.js and npm are there and new enough.
///
/// # Errors
/// With what to install.
pub(crate) fn node() -> Result<()> {
    let advice = format!("install Node.js {NODE_MAJOR_MIN} or later, with npm");
    let version = output(Command::new("node").arg("--version")).with_context(|| advice.clone())?;
    let major: Option<u32> =
        version.trim_start_matches('v').split('.').next().and_then(|part| part.parse().ok());
    ensure!(major.is_some_and(|major| major >= NODE_MAJOR_MIN), "node is {}: {advice}", version.trim());
    output(Command::new("npm").arg("--version")).with_context(|| advice)?;
    Ok(())
}

/// Installs the pinned npm packages of the client tests and the demo, unless they are there already.
///
/// # Errors
/// When npm fails; its own words are on stderr.
pub(crate) fn npm_packages() -> Result<()> {
    install_packages("tests/clients", "npm")
}

/// The same for the cluster tests: Node's servers, adapters and emitters.
///
/// # Errors
/// As [`npm_packages`].
pub(crate) fn npm_cluster_packages() -> Result<()> {
    install_packages("tests/cluster", "npm-cluster")
}

/// Installs what the lock file in `manifests` (from the root) says into `.cache/<cached>`, for files in `manifests`.
fn install_packages(manifests: &str, cached: &str) -> Result<()> {
    let manifests = root().join(manifests);
    install_locked(&manifests, &cache().join(cached))?;
    link_packages(&manifests, cached)
}

/// Installs what the lock file in `manifests` says into `folder`, unless it is there already.
///
/// # Errors
/// When npm fails; its own words are on stderr.
pub(crate) fn install_locked(manifests: &Path, folder: &Path) -> Result<()> {
    let installed = folder.join("installed-lock.json");
    let lock = manifests.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| lock.display().to_string())?;
    if fs::read(&installed).is_ok_and(|known| known == lock) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(manifests.join(file), folder.join(file))?;
    }
    // No scripts: none of the packages needs one, and what is not run cannot do harm.
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    run(Command::new("npm").args(arguments).current_dir(folder))?;
    fs::write(installed, lock)?;
    Ok(())
}

/// Node looks for packages beside the files that import them.
fn link_packages(manifests: &Path, cached: &str) -> Result<()> {
    let packages = format!("../../.cache/{cached}/node_modules");
    match symlink(packages, manifests.join("node_modules")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// The client bundle (`socket.io.js` and so on, with maps), as a folder of its own.
///
/// # Errors
/// When [`npm_packages`] has not run.
pub(crate) fn client_bundle() -> Result<PathBuf> {
    let to = cache().join("bundle");
    for (package, folder) in [("socket.io-client", to.clone()), ("socket.io-client-2.5", to.join("2.x"))] {
        let from = cache().join("npm/node_modules").join(package).join("dist");
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(to)
}

/// Finds Chromium, or installs Debian's.
///
/// # Errors
/// With what to install, when apt-get or the right to use it is missing.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(set) = env::var_os("ROOMCAST_CHROMIUM") {
        return Ok(set.into());
    }
    if !Path::new(CHROMIUM).exists() {
        apt_install("chromium").context(
            "install Chromium (Debian: apt-get install chromium, as root), or set ROOMCAST_CHROMIUM to a browser",
        )?;
    }
    Ok(CHROMIUM.into())
}

/// Finds Redis 7 or later, or installs Debian's.
///
/// # Errors
/// With what to install, when it is too old, or apt-get or the right to use it is missing.
pub(crate) fn redis() -> Result<()> {
    let advice =
        format!("install Redis {REDIS_MAJOR_MIN} or later (Debian: apt-get install redis-server, as root)");
    if !is_in_path("redis-server") {
        apt_install("redis-server").with_context(|| advice.clone())?;
    }
    let version = output(Command::new("redis-server").arg("--version")).with_context(|| advice.clone())?;
    let major: Option<u32> =
        version.split("v=").nth(1).and_then(|rest| rest.split('.').next()).and_then(|part| part.parse().ok());
    ensure!(major.is_some_and(|major| major >= REDIS_MAJOR_MIN), "{}: {advice}", version.trim());
    Ok(())
}

/// Finds nginx, or installs Debian's.
///
/// # Errors
/// With what to install, when apt-get or the right to use it is missing.
pub(crate) fn nginx() -> Result<()> {
    if !Path::new(NGINX).exists() {
        apt_install("nginx").context("install nginx (Debian: apt-get install nginx, as root)")?;
    }
    Ok(())
}

/// Finds HAProxy, or installs Debian's.
///
/// # Errors
/// With what to install, when apt-get or the right to use it is missing.
pub(crate) fn haproxy() -> Result<()> {
    if !Path::new(HAPROXY).exists() {
        apt_install("haproxy").context("install HAProxy (Debian: apt-get install haproxy, as root)")?;
    }
    Ok(())
}

/// Finds valgrind, or installs Debian's.
///
/// # Errors
/// With what to install, when apt-get or the right to use it is missing.
pub(crate) fn valgrind() -> Result<()> {
    if !is_in_path("valgrind") {
        apt_install("valgrind").context("install valgrind (Debian: apt-get install valgrind, as root)")?;
    }
    Ok(())
}

fn apt_install(package: &str) -> Result<()> {
    run(Command::new("apt-get").arg("update"))?;
    let arguments = ["install", "--yes", "--no-install-recommends", package];
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Finds grpcurl, or builds it if Go is there; `None` without either, for `cargo xtask publish` does the same.
pub(crate) fn grpcurl() -> Option<PathBuf> {
    let own = root().join(".tools/grpcurl");
    if is_in_path("grpcurl") {
        return Some("grpcurl".into());
    }
    if !own.exists() && is_in_path("go") {
        eprintln!("xtask: building grpcurl, once");
        let mut install = Command::new("go");
        install.args(["install", GRPCURL]).env("GOBIN", root().join(".tools"));
        if let Err(error) = run(&mut install) {
            eprintln!("xtask: no grpcurl: {error:#}");
        }
    }
    own.exists().then_some(own)
}

fn is_in_path(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Runs a tool to its end.
///
/// # Errors
/// When it cannot be run or fails; its own words are on stderr.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    // What tools say is for people; stdout is for results.
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("{program} could not be run"))?;
    ensure!(status.success(), "{program} failed with {status}");
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("{program} could not be run"))?;
    if !output.status.success() {
        bail!("{program} failed with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
