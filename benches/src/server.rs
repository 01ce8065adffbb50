//! The processes under load: started, asked, and ended.

mod cpu_time;
mod process;
mod programs;
mod redis;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::ensure;

use self::process::Process;
pub(crate) use self::{
    cpu_time::CpuTime,
    process::signal,
    programs::{Kind, Programs},
    redis::Redis,
};

/// How to start it.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kind: Kind,
    pub(crate) programs: Programs,
    /// Shards of the gateway, in each process.
    pub(crate) shards: u8,
    pub(crate) ping_interval_ms: u32,
    /// Processes; more than one are a cluster, with a Redis of their own.
    pub(crate) nodes: usize,
}

/// A running server, of one node or several; it is killed when dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    nodes: Vec<Process>,
    redis: Option<(Process, Redis)>,
    /// Where clients connect, by node.
    pub(crate) clients: Vec<SocketAddr>,
    /// The publish API of the first node.
    pub(crate) grpc: SocketAddr,
}

impl Launch {
    /// A pause between heartbeats that is longer than any run, so that none is counted as part of a workload.
    pub(crate) const NO_PINGS_MS: u32 = 3_600_000;

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// When it does not, with what it printed.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        self.start_under(|_| Vec::new())
    }

    /// As [`Self::start`], each process under a tool such as valgrind: `tool` gives the words in front of the own
    /// ones of the process with that number; the last is Redis, if there is one.
    pub(crate) fn start_under(&self, tool: impl Fn(usize) -> Vec<String>) -> anyhow::Result<Server> {
        let redis = if self.nodes > 1 {
            let at = free_port()?;
            Some((Process::start(tool(self.nodes), &programs::redis_server(at), at)?, Redis::connect(at)?))
        } else {
            None
        };
        let redis_at = redis.as_ref().map(|(_, redis)| redis.at);
        let grpc = free_port()?;
        let (mut nodes, mut clients) = (Vec::new(), Vec::new());
        for node in 0..self.nodes {
            let at = free_port()?;
            let grpc = if node == 0 { grpc } else { free_port()? };
            let place = programs::Place { clients: at, grpc, gateways: free_port()?, redis: redis_at };
            nodes.push(Process::start(tool(node), &self.command(&place)?, at)?);
            clients.push(at);
        }
        Ok(Server { kind: self.kind, nodes, redis, clients, grpc })
    }
}

/// Starts a publisher without sockets in front of a Redis of its own: a server without clients.
///
/// # Errors
/// When they do not start, with what they printed.
pub(crate) fn start_publisher(programs: &Programs) -> anyhow::Result<Server> {
    let (redis, grpc) = (free_port()?, free_port()?);
    let process = Process::start(Vec::new(), &programs::redis_server(redis), redis)?;
    let publisher = Process::start(Vec::new(), &programs.publisher(grpc, redis)?, grpc)?;
    let redis = Some((process, Redis::connect(redis)?));
    Ok(Server { kind: Kind::Gateway, nodes: vec![publisher], redis, clients: Vec::new(), grpc })
}

impl Server {
    /// All processes, Redis last.
    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().chain(self.redis.iter().map(|(process, _)| process))
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes().map(Process::pid).collect()
    }

    /// Processor time of all processes so far.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        self.processes().map(Process::cpu_time).sum()
    }

    /// The same of the nodes alone, without Redis.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn nodes_cpu_time(&self) -> anyhow::Result<CpuTime> {
        self.nodes.iter().map(Process::cpu_time).sum()
    }

    /// Resident memory of the nodes, in bytes.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.nodes.iter().map(Process::resident_bytes).sum()
    }

    /// The part of it that is the processes' own: pages of their programs come as they are first used.
    ///
    /// # Errors
    /// As [`Self::resident_bytes`].
    pub(crate) fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        self.nodes.iter().map(Process::anonymous_bytes).sum()
    }

    /// The most that was resident at any time, in bytes.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn peak_resident_bytes(&self) -> anyhow::Result<u64> {
        self.nodes.iter().map(Process::peak_resident_bytes).sum()
    }

    /// The Redis of a cluster.
    pub(crate) fn redis(&mut self) -> Option<&mut Redis> {
        self.redis.as_mut().map(|(_, redis)| redis)
    }

    /// Tells all processes to end, and waits.
    ///
    /// # Errors
    /// When one does not end in time.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let Self { nodes, redis, .. } = self;
        let all: Vec<Process> = nodes.into_iter().chain(redis.map(|(process, _)| process)).collect();
        ensure!(!all.is_empty(), "no process");
        all.into_iter().try_for_each(Process::stop)
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
