//! socketioxide behind axum, serving what the load generator asks of a gateway:
//! `socketioxide-peer PORT PING_INTERVAL_MS [REDIS_URL]`.

use std::{convert::Infallible, env, error::Error, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use socketioxide::{
    SocketIo, SocketIoBuilder,
    adapter::Adapter,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler as _,
};
use socketioxide_core::adapter::DefinedAdapter;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
};

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: u32 = 4096;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let port: u16 = arguments.next().ok_or("no port")?.parse()?;
    let ping_interval = Duration::from_millis(arguments.next().ok_or("no ping interval")?.parse()?);
    let builder = SocketIo::builder().ping_interval(ping_interval);
    let app = match arguments.next() {
        None => serve_sockets(builder).0,
        Some(url) => {
            let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
            let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
            let (app, initialized) = serve_sockets(builder.with_adapter::<RedisAdapter<_>>(adapter));
            initialized.await?;
            app
        }
    };
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(BACKLOG)?.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        _ = end.recv() => Ok(()),
    }
}

/// The application, and what its namespace's adapter still has to do.
fn serve_sockets<A: Adapter + DefinedAdapter>(builder: SocketIoBuilder<A>) -> (Router, A::InitRes) {
    let (layer, io) = builder.build_layer();
    // In a middleware, for the task of a handler could be too late for a client's first event.
    let listen = async |socket: SocketRef<A>| -> Result<(), Infallible> {
        socket.on("join", async |socket: SocketRef<A>, Data(room): Data<String>, answer: AckSender<A>| {
            socket.join(room);
            answer.send(&Status { status: "ok" }).ok();
        });
        socket.on("m", async |socket: SocketRef<A>, Data((room, text)): Data<(String, String)>| {
            socket.to(room.clone()).emit("m", &(room, text)).await.ok();
        });
        socket.on("echo", async |answer: AckSender<A>| {
            answer.send(&Status { status: "ok" }).ok();
        });
        Ok(())
    };
    let initialized = io.ns("/", (async |_: SocketRef<A>| ()).with(listen));
    (Router::new().layer(layer), initialized)
}

#[derive(serde::Serialize)]
struct Status {
    status: &'static str,
}
