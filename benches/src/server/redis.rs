//! What the Redis of a cluster counts, and how to cut its connections.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to Redis, of our own so that only the servers' clients are measured.
pub(crate) struct Redis {
    pub(crate) at: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// Bytes that Redis has read and written, on all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

impl Redis {
    pub(super) fn connect(at: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(at).context("Redis does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { at, stream: BufReader::new(stream) })
    }

    /// What has gone through Redis so far.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(crate) fn traffic(&mut self) -> anyhow::Result<Traffic> {
        let stats = self.ask("INFO stats")?;
        let number = |name| number(&stats, name).with_context(|| format!("no {name} in INFO"));
        Ok(Traffic { input: number("total_net_input_bytes")?, output: number("total_net_output_bytes")? })
    }

    /// Channels with subscribers.
    ///
    /// # Errors
    /// When Redis does not answer, or is older than 7.0.3 and does not say.
    pub(crate) fn channels(&mut self) -> anyhow::Result<u64> {
        number(&self.ask("INFO stats")?, "pubsub_channels").context("no pubsub_channels in INFO")
    }

    /// Cuts all connections that have subscribed to something.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(crate) fn cut_subscribers(&mut self) -> anyhow::Result<()> {
        self.ask("CLIENT KILL TYPE pubsub").map(drop)
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(!line.starts_with('-'), "Redis refuses {command}: {line}");
        let Some(length) = line.strip_prefix('$') else { return Ok(line) };
        // The end of the line is not counted.
        let mut text = vec![0; length.trim().parse::<usize>()? + 2];
        self.stream.read_exact(&mut text)?;
        Ok(String::from_utf8(text)?)
    }
}

fn number(stats: &str, name: &str) -> Option<u64> {
    let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}
