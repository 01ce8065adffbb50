//! User instructions per unit of a workload.
//!
//! Where the machine has counters, `perf stat` counts while the workload runs. Elsewhere the server runs under
//! callgrind, whose counts are set to zero once the workload is set up and taken when it is done: so what start,
//! connections and end cost is not in them.

mod callgrind;
mod perf;

use std::process::{Command, Stdio};

use anyhow::ensure;

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
            Self::Callgrind => callgrind::count(launch, workload, amount),
        }
    }
}
