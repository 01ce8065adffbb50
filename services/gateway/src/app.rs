//! The wiring: the one place that knows every part.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener},
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use adapter::Subscriptions;
use admission::{QuotaConfig, Quotas, Rate};
use anyhow::Context as _;
use broker::{Shard, ShardConfig};
use engineio::{Owner, SidKey};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use telemetry::{PrometheusHandle, ShardMetrics};
use tokio::{
    runtime,
    sync::{mpsc, watch},
};

use crate::{
    admin::{self, Readiness, Unready},
    bundle::Bundle,
    cluster::{ClusterHandle, ClusterStart, Nodes},
    config::GatewayConfig,
    context::Context,
    driver::Driver,
    inbox::{Command, INBOX_COMMANDS_MAX, Shards},
    occupancy::Occupancy,
    peers::{self, Directory, Forwarder, Peer, PeerKey},
    ports,
    shutdown::{self, ShardEnd},
    tls::Tls,
};

/// Known to everybody: for gateways on one machine, that nobody else reaches (`cluster.insecure`).
const INSECURE_SECRET: [u8; 32] = *b"roomcast: this key is no secret!";

/// Shards that end report here; there are few, and each reports once.
const ENDS_MAX: usize = 256;

/// The open ports.
struct Ports {
    client: Vec<TcpListener>,
    cluster: Option<TcpListener>,
    grpc: Option<TcpListener>,
    ops: Option<TcpListener>,
}

/// Serves until the process is told to stop.
///
/// # Errors
/// When a port cannot be opened, a certificate or bundle not be read, or a shard fails.
pub(crate) fn run(config: GatewayConfig) -> anyhow::Result<()> {
    let metrics = telemetry::init(&config.log)?;
    // The default soft limit of 1,024 files would be 1,000 clients.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let shard_count = shard_count(&config);
    let mut ports = open_ports(&config, shard_count)?;
    let tls = config.client.tls.as_ref().map(Tls::read).transpose()?;
    let mut entropy = StdRng::from_os_rng();
    let node = config.node.id.unwrap_or_else(|| (entropy.next_u32() >> 16) as u16);
    let secret = secret(&config, &mut entropy)?;
    let peers = peers_start(&config, node, &secret, ports.cluster.as_ref())?;
    let listeners = std::mem::take(&mut ports.client);
    // The listeners of the shards share one address; with port 0 it is known only now.
    let client_address = listeners.first().map(TcpListener::local_addr).transpose()?;
    let starts = prepare(&config, tls.clone(), node, &SidKey::new(&secret), listeners, peers, entropy)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    telemetry::emit(&telemetry::GatewayStarted {
        version: env!("CARGO_PKG_VERSION"),
        node,
        shards: usize::from(shard_count),
    });
    let result = runtime.block_on(serve(config, starts, client_address, ports, tls, metrics));
    telemetry::emit(&telemetry::GatewayStopped {});
    result
}

fn shard_count(config: &GatewayConfig) -> u8 {
    let cores =
        || thread::available_parallelism().map_or(1, |cores| u8::try_from(cores.get()).unwrap_or(u8::MAX));
    config.client.shards.map_or_else(cores, std::num::NonZeroU8::get)
}

fn open_ports(config: &GatewayConfig, shards: u8) -> Result<Ports, ports::PortError> {
    let open = |enabled: bool, key, address| enabled.then(|| ports::open(key, address)).transpose();
    Ok(Ports {
        client: ports::open_shared("client.listen", config.client.listen, shards)?,
        cluster: open(config.is_clustered(), "cluster.listen", config.cluster.listen)?,
        grpc: open(config.grpc.enabled, "grpc.listen", config.grpc.listen)?,
        ops: open(config.ops.enabled, "ops.listen", config.ops.listen)?,
    })
}

/// The secret that session ids, and requests between gateways, are authenticated with.
fn secret(config: &GatewayConfig, entropy: &mut StdRng) -> anyhow::Result<[u8; 32]> {
    if let Some(secret) = config.node.read_secret().map_err(anyhow::Error::msg)? {
        return Ok(secret);
    }
    if config.is_clustered() {
        telemetry::emit(&telemetry::InsecureCluster {});
        return Ok(INSECURE_SECRET);
    }
    let mut secret = [0; 32];
    entropy.fill_bytes(&mut secret);
    Ok(secret)
}

/// What connects the shards with the other gateways, which reach us by `listener`, if there can be any.
fn peers_start(
    config: &GatewayConfig,
    node: u16,
    secret: &[u8; 32],
    listener: Option<&TcpListener>,
) -> anyhow::Result<Option<PeersStart>> {
    let Some(listener) = listener else { return Ok(None) };
    let address = config.cluster.advertised(listener.local_addr()?).map_err(anyhow::Error::msg)?;
    telemetry::emit(&telemetry::PeersExpected { node, address });
    let fixed = config.cluster.peers.iter().map(|peer| (peer.node, Peer { address: peer.address }));
    Ok(Some(PeersStart {
        node,
        address,
        directory: Directory::new(fixed.collect()),
        key: PeerKey::new(secret),
    }))
}

/// What connects a shard with the other gateways.
#[derive(Clone)]
struct PeersStart {
    /// This gateway, and where the others reach it.
    node: u16,
    address: SocketAddr,
    directory: Directory,
    key: PeerKey,
}

/// Everything that one shard's thread starts with.
struct ShardStart {
    number: u8,
    config: ShardConfig,
    client: crate::config::ClientConfig,
    request_timeout: Duration,
    occupancy: Occupancy,
    quotas: Arc<Quotas>,
    tls: Option<Tls>,
    bundle: Option<Arc<Bundle>>,
    cluster: Option<ClusterHandle>,
    rng: StdRng,
    shards: Shards,
    inbox: mpsc::Receiver<Command>,
    listener: TcpListener,
    peers: Option<PeersStart>,
}

/// The shards and the cluster's node, ready to be started, and the way to talk to them.
struct Starts {
    shards: Shards,
    starts: Vec<ShardStart>,
    cluster: Option<ClusterStart>,
}

fn prepare(
    config: &GatewayConfig,
    tls: Option<Tls>,
    node: u16,
    sid_key: &SidKey,
    listeners: Vec<TcpListener>,
    peers: Option<PeersStart>,
    mut entropy: StdRng,
) -> anyhow::Result<Starts> {
    let bundle = match config.client.bundle() {
        Some(directory) => {
            let bundle = Bundle::read(&directory);
            Some(Arc::new(
                bundle.with_context(|| format!("cannot read {} (client.bundle_dir)", directory.display()))?,
            ))
        }
        None => None,
    };
    let (inboxes, receivers): (Vec<_>, Vec<_>) =
        listeners.iter().map(|_| mpsc::channel(INBOX_COMMANDS_MAX)).unzip();
    let shards =
        Shards::new(inboxes, (node, &config.node.name()), sid_key.clone(), config.limits.pending_calls_max);
    let cluster = prepare_cluster(config, node, &shards, peers.as_ref(), &mut entropy);
    let occupancy = Occupancy::new(listeners.len(), config.limits.connections as usize);
    let quotas = Arc::new(Quotas::new(QuotaConfig {
        open_max: config.limits.connections_per_address,
        new_per_second: config.limits.new_connections_per_address,
        ipv6_prefix_bits: config.limits.ipv6_prefix_bits,
        unlimited: config.limits.unlimited_addresses.clone(),
    }));
    let starts =
        listeners.into_iter().zip(receivers).zip(0_u8..).map(|((listener, inbox), number)| ShardStart {
            number,
            config: ShardConfig {
                engine: config.engine.clone(),
                limits: config.limits.clone(),
                namespaces: config.namespaces.clone(),
                owner: Owner { node, shard: number },
                sid_key: sid_key.clone(),
                subscriptions: match cluster {
                    None => Subscriptions::NotNeeded,
                    Some(_) => Subscriptions::Confirmed,
                },
                deflate_bytes_min: config.client.websocket_compression_min_bytes,
            },
            client: config.client.clone(),
            request_timeout: Duration::from_millis(config.limits.request_timeout_ms.into()),
            occupancy: occupancy.clone(),
            quotas: quotas.clone(),
            tls: tls.clone(),
            bundle: bundle.clone(),
            cluster: cluster.as_ref().map(ClusterStart::handle),
            rng: StdRng::from_rng(&mut entropy),
            shards: shards.clone(),
            inbox,
            listener,
            peers: peers.clone(),
        });
    let starts = starts.collect();
    Ok(Starts { shards, starts, cluster })
}

fn prepare_cluster(
    config: &GatewayConfig,
    node: u16,
    shards: &Shards,
    peers: Option<&PeersStart>,
    entropy: &mut StdRng,
) -> Option<ClusterStart> {
    let attachments_max = config.limits.attachments_per_packet.into();
    let node = config.adapter.cluster(
        node,
        config.node.name(),
        peers.map(|peers| peers.address),
        attachments_max,
    )?;
    let directory = peers.map(|peers| peers.directory.clone()).unwrap_or_default();
    Some(ClusterStart::new(node, config.redis.clone(), shards.clone(), directory, entropy))
}

async fn serve(
    config: GatewayConfig,
    Starts { shards, starts, cluster }: Starts,
    client_address: Option<SocketAddr>,
    ports: Ports,
    tls: Option<Tls>,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let (ready, readiness) = watch::channel(Readiness::starting());
    let (stop, stopping) = watch::channel(false);
    let signals = shutdown::Signals::listen()?;
    let (ended, ends) = mpsc::channel(ENDS_MAX);
    for start in starts {
        let ended = ended.clone();
        let name = format!("shard-{}", start.number);
        thread::Builder::new()
            .name(name)
            .spawn(move || run_shard(start, &ended))
            .context("cannot start a shard")?;
    }
    drop(ended);
    if let Some(tls) = tls {
        tokio::spawn(tls.follow_changes());
    }
    let cluster = cluster.map(|start| start.run(&ready)).transpose()?;
    let address = client_address.unwrap_or(config.client.listen);
    telemetry::emit(&telemetry::Listening { port: "client", address });
    if let Some(listener) = ports.ops {
        telemetry::emit(&telemetry::Listening { port: "ops", address: listener.local_addr()? });
        tokio::spawn(admin::serve(tokio::net::TcpListener::from_std(listener)?, metrics, readiness));
    }
    if let Some(listener) = ports.cluster {
        telemetry::emit(&telemetry::Listening { port: "cluster", address: listener.local_addr()? });
        tokio::spawn(peers::serve(tokio::net::TcpListener::from_std(listener)?, shards.clone()));
    }
    if let Some(listener) = ports.grpc {
        telemetry::emit(&telemetry::Listening { port: "grpc", address: listener.local_addr()? });
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let limits = config.grpc.limits.clone();
        let access = publish::Access::read(&config.grpc.auth, config.grpc.tls.as_ref()).context("grpc")?;
        let nodes = Nodes { shards: shards.clone(), cluster: cluster.clone() };
        tokio::spawn(serve_publish_api(listener, nodes, limits, access, stopping, ready.clone()));
    }
    shutdown::set_ready(&ready, |readiness| readiness.clear(Unready::Starting));
    let result = shutdown::run_until_stopped(&config.shutdown, &shards, &ready, signals, ends, stop).await;
    if let Some(cluster) = cluster {
        // Until now its sessions could be asked for.
        cluster.leave().await;
    }
    result
}

/// Serves the publish API until `stopping` and until the calls that have begun are done.
pub(crate) async fn serve_publish_api(
    listener: tokio::net::TcpListener,
    nodes: Nodes,
    limits: publish::PublishConfig,
    access: publish::Access,
    mut stopping: watch::Receiver<bool>,
    ready: watch::Sender<Readiness>,
) {
    let stopped = async move {
        // An error means that the process is past stopping.
        stopping.wait_for(|stopping| *stopping).await.ok();
    };
    if let Err(error) = publish::serve_with(listener, nodes, limits, access, stopped).await {
        telemetry::emit(&telemetry::PublishServerFailed { error: error.to_string() });
        shutdown::set_ready(&ready, |readiness| readiness.set(Unready::PublishFailed));
    }
}

/// The life of one shard's thread.
fn run_shard(start: ShardStart, ended: &mpsc::Sender<ShardEnd>) {
    let shard = start.number;
    let life = || driver(start)?.run();
    // A bug that panics ends the process in an orderly way: its clients reconnect, and somebody reads why.
    let result = panic::catch_unwind(AssertUnwindSafe(life));
    let result =
        result.unwrap_or_else(|_| Err(io::Error::other("it panicked; the message is in the log above")));
    // Nobody listens once the process is past stopping.
    ended.blocking_send(ShardEnd { shard, result }).ok();
}

fn driver(start: ShardStart) -> io::Result<Driver> {
    let metrics = Rc::new(ShardMetrics::new(start.number.into()));
    let engine = &start.config.engine;
    let heartbeat =
        Duration::from_millis(u64::from(engine.ping_interval_ms) + u64::from(engine.ping_timeout_ms));
    let forwarder = start.peers.as_ref().map(|peers| {
        let PeersStart { node, directory, key, .. } = peers;
        Forwarder::new(directory.clone(), key.clone(), *node, heartbeat, metrics.clone())
    });
    let context = Rc::new(Context {
        client: start.client,
        request_timeout: start.request_timeout,
        stall_timeout: heartbeat,
        occupancy: start.occupancy,
        quotas: start.quotas,
        request_rate: Rate::new(start.config.limits.packets_per_second),
        tls: start.tls,
        bundle: start.bundle,
        cluster: start.cluster,
        metrics,
        forwarder,
        passing: Cell::new(0),
        draining: watch::Sender::new(None),
        closing: watch::Sender::new(false),
        number: start.number,
    });
    let shard = Shard::new(start.config, start.rng, Instant::now());
    Driver::new(shard, start.number, context, start.shards, start.inbox, start.listener)
}
