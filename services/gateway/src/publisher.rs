//! The wiring of the process without clients: the publish API, and its way to the nodes that have them.

use std::net::TcpListener;

use anyhow::Context as _;
use broker::LimitsConfig;
use engineio::SidKey;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use telemetry::PrometheusHandle;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admin::{self, Readiness, Unready};
use crate::app;
use crate::cluster::{ClusterStart, Nodes};
use crate::config::{NodeConfig, PublisherConfig};
use crate::inbox::Shards;
use crate::peers::Directory;
use crate::ports;
use crate::shutdown::{self, Signals};

/// Serves until the process is told to stop.
///
/// # Errors
/// When a port cannot be opened, a file of `grpc` not be read, or the publish API ends.
pub(crate) fn run(config: PublisherConfig) -> anyhow::Result<()> {
    let metrics = telemetry::init(&config.log)?;
    // Every connection of a back end is an open file.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let grpc = ports::open("grpc.listen", config.grpc.listen)?;
    let ops = config.ops.enabled.then(|| ports::open("ops.listen", config.ops.listen)).transpose()?;
    let access = publish::Access::read(&config.grpc.auth, config.grpc.tls.as_ref()).context("grpc")?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    telemetry::emit(&telemetry::PublisherStarted { version: env!("CARGO_PKG_VERSION") });
    let result = runtime.block_on(serve(config, grpc, ops, access, metrics));
    telemetry::emit(&telemetry::PublisherStopped {});
    result
}

async fn serve(
    config: PublisherConfig,
    grpc: TcpListener,
    ops: Option<TcpListener>,
    access: publish::Access,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let (ready, readiness) = watch::channel(Readiness::starting());
    let (stop, stopping) = watch::channel(false);
    let (shards, start) = prepare(&config)?;
    let cluster = start.run(&ready)?;
    if let Some(listener) = ops {
        telemetry::emit(&telemetry::Listening { port: "ops", address: listener.local_addr()? });
        tokio::spawn(admin::serve(tokio::net::TcpListener::from_std(listener)?, metrics, readiness));
    }
    telemetry::emit(&telemetry::Listening { port: "grpc", address: grpc.local_addr()? });
    let grpc = tokio::net::TcpListener::from_std(grpc)?;
    let nodes = Nodes { shards, cluster: Some(cluster.clone()) };
    let limits = config.grpc.limits.clone();
    let mut api = tokio::spawn(app::serve_publish_api(grpc, nodes, limits, access, stopping, ready.clone()));
    shutdown::set_ready(&ready, |readiness| readiness.clear(Unready::Starting));
    tokio::select! {
        () = signals.next() => {}
        // What it ended of is in the log.
        _ = &mut api => anyhow::bail!("the publish API has ended"),
    }
    shutdown::set_ready(&ready, |readiness| readiness.set(Unready::Draining));
    stop.send_replace(true);
    tokio::select! {
        () = signals.next() => {}
        ended = timeout(config.shutdown.deadline(), api) => {
            if ended.is_err() {
                telemetry::emit(&telemetry::CallsCutOff { deadline_ms: config.shutdown.deadline_ms });
            }
        }
    }
    cluster.leave().await;
    Ok(())
}

/// No shards, and a node for them.
fn prepare(config: &PublisherConfig) -> anyhow::Result<(Shards, ClusterStart)> {
    let mut entropy = StdRng::from_os_rng();
    // Nobody asks for it, and it is in no session id: the node keeps no lease under it while it has nothing to say.
    let node = (entropy.next_u32() >> 16) as u16;
    let mut secret = [0; 32];
    entropy.fill_bytes(&mut secret);
    let limits = LimitsConfig::default();
    let name = NodeConfig { name: config.node.name.clone(), ..NodeConfig::default() }.name();
    let shards = Shards::none(node, &name, SidKey::new(&secret), limits.pending_calls_max);
    let node = config
        .adapter
        .cluster(node, name, None, limits.attachments_per_packet.into())
        .context("adapter.kind is memory")?;
    let start =
        ClusterStart::new(node, config.redis.clone(), shards.clone(), Directory::default(), &mut entropy);
    Ok((shards, start))
}
