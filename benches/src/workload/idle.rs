//! Connections that do nothing: what they keep resident, and what their heartbeats cost.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    client::Arrived,
    crowd::{Crowd, Seat},
    server::{CpuTime, Server},
};

/// What idle connections cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Connections, handshake and namespace included, per second.
    pub(crate) connect_rate: f64,
    /// Resident memory of the server beyond what it had without connections, per connection.
    pub(crate) resident_bytes: f64,
    pub(crate) pings: u64,
    /// CPU time of all that the server did while the pings were counted.
    pub(crate) cpu: CpuTime,
    /// Resident memory beyond what the server began with, once all have gone; its allocator keeps some.
    pub(crate) kept_bytes: u64,
}

/// Opens `connections`, counts heartbeats for `watch`, and lets them go.
///
/// # Errors
/// When the server refuses or closes one of them.
pub(crate) fn measure_idle(server: &Server, connections: u32, watch: Duration) -> anyhow::Result<Idle> {
    let before = server.resident_bytes()?;
    let start = Instant::now();
    let mut crowd = Crowd::new(server)?;
    crowd.assemble(connections as usize, |_| Seat { node: 0, rooms: 0..0 })?;
    let connected = start.elapsed();
    let resident = server.resident_bytes()?.saturating_sub(before);
    let cpu = server.cpu_time()?;
    let mut pings = 0;
    let until = Instant::now() + watch;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        crowd.turn(left.min(Duration::from_secs(1)), |_, _, arrived| match arrived {
            Arrived::Ping => {
                pings += 1;
                Ok(())
            }
            other => Err(io::Error::other(format!("while idle: {other:?}"))),
        })?;
    }
    let cpu = server.cpu_time()? - cpu;
    ensure!(crowd.len() == connections as usize, "the server closed idle connections");
    drop(crowd);
    let kept = settled_resident_bytes(server)?.saturating_sub(before);
    Ok(Idle {
        connect_rate: f64::from(connections) / connected.as_secs_f64(),
        resident_bytes: resident as f64 / f64::from(connections),
        pings,
        cpu,
        kept_bytes: kept,
    })
}

/// Resident memory once it does not change any more.
fn settled_resident_bytes(server: &Server) -> anyhow::Result<u64> {
    let mut last = server.resident_bytes()?;
    for _ in 0..20 {
        // There is nothing to wait for: memory given back makes no sound.
        std::thread::sleep(Duration::from_millis(250));
        let now = server.resident_bytes()?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}
