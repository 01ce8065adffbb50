//! A proxy that cuts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes bytes on to a server, and while it cuts, ends each connection after some bytes of answers: so the server has
/// done what the caller hears nothing of.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cutting: Arc<AtomicBool>,
    cuts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of `server`; a connection is cut after `answer_bytes[n]` bytes of answers, in turn.
    pub(crate) async fn start(server: SocketAddr, answer_bytes: &'static [usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cutting, cuts) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (cut_now, count) = (cutting.clone(), cuts.clone());
        let task = tokio::spawn(async move {
            let mut turns = answer_bytes.iter().cycle();
            while let (Ok((caller, _)), Some(&bytes)) = (listener.accept().await, turns.next()) {
                let (cut_now, count) = (cut_now.clone(), count.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    pass_on(caller, server, bytes, &cut_now).await;
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, cutting, cuts, task }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts no more.
    pub(crate) fn be_kind(&self) {
        self.cutting.store(false, Ordering::Relaxed);
    }

    /// Connections that have ended.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(caller: TcpStream, server: TcpStream, answer_bytes: usize, cutting: &AtomicBool) {
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async {
        let mut passed = 0;
        let mut buffer = [0; 4096];
        loop {
            let room = match cutting.load(Ordering::Relaxed) {
                true if passed >= answer_bytes => return,
                true => (answer_bytes - passed).min(buffer.len()),
                false => buffer.len(),
            };
            match from_server.read(&mut buffer[..room]).await {
                Ok(count) if count > 0 && to_caller.write_all(&buffer[..count]).await.is_ok() => {
                    passed += count
                }
                _ => return,
            }
        }
    };
    tokio::select! {
        () = answers => {}
        _ = copy(&mut from_caller, &mut to_server) => {}
    }
}
