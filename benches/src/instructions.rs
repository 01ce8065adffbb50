//! User instructions per unit of a workload.
//!
//! Where the machine has counters, `perf stat` counts while the workload runs. Elsewhere the server runs under
//! callgrind twice, once with twice the amount: what start, connections and end cost stands in both, and the
//! difference is the workload's own.

mod callgrind;
mod perf;

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use self::callgrind::Profile;
use crate::{
    server::Launch,
    workload::{Faults, Workload},
};

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Perf,
    Callgrind,
}

/// What a workload costs.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// User instructions per unit.
    pub(crate) user: f64,
    /// Kernel instructions per unit, if the counter sees them.
    pub(crate) kernel: Option<f64>,
    /// The functions with the highest cost of their own, and that cost per unit; none with [`Counter::Perf`].
    pub(crate) functions: Vec<(String, f64)>,
    pub(crate) faults: Faults,
}

impl Counter {
    /// The best that this machine has.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn detect() -> anyhow::Result<Self> {
        if perf::works() {
            return Ok(Self::Perf);
        }
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(
            valgrind.status().is_ok_and(|status| status.success()),
            "neither counters of the processor (perf stat -e instructions:u) nor valgrind: apt-get install valgrind"
        );
        Ok(Self::Callgrind)
    }

    /// Counts `amount` of a workload.
    ///
    /// # Errors
    /// When the server fails, or the counter does.
    pub(crate) fn count(self, launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<Cost> {
        match self {
            Self::Perf => perf::count(launch, workload, amount),
            Self::Callgrind => {
                let (once, mut faults, units) = profile(launch, workload, amount)?;
                let (twice, more_faults, more_units) = profile(launch, workload, amount * 2)?;
                faults.add(more_faults);
                let units = more_units.checked_sub(units).filter(|units| *units > 0);
                let difference = twice.minus(&once).per(units.context("nothing was delivered")? as f64);
                let functions = difference.functions;
                Ok(Cost { user: difference.total, kernel: None, functions, faults })
            }
        }
    }
}

/// Runs a workload under callgrind; returns the units done, too.
fn profile(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<(Profile, Faults, u64)> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("callgrind.out");
    let tool = ["valgrind", "--tool=callgrind", "--fair-sched=yes", "--instr-atstart=yes"].map(String::from);
    let out_flag = format!("--callgrind-out-file={}", out.display());
    let server = launch.start_under(&[&tool[..], &[out_flag]].concat())?;
    let mut load = workload.prepare(&server)?;
    let outcome = load.drive(amount)?;
    drop(load);
    server.stop()?;
    Ok((Profile::read(&out)?, outcome.faults, outcome.units))
}
