//! Passes the bytes of a WebSocket between its client and the gateway that owns its session.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, copy_buf, split};

use crate::tasks::timeout;

/// Bytes that may wait in each direction; what reads more slowly than the other writes slows the other down.
const BUFFER_BYTES: usize = 4096;
/// How long the second direction may go on once the first has ended: time for the last frames.
const LINGER: Duration = Duration::from_secs(5);

/// Passes bytes both ways until both sides have ended, one of them breaks, or the time after the first end is over.
pub(crate) async fn splice(client: Upgraded, owner: Upgraded) {
    let (client_reads, client_writes) = split(TokioIo::new(client));
    let (owner_reads, owner_writes) = split(TokioIo::new(owner));
    let up = pass(client_reads, owner_writes);
    let down = pass(owner_reads, client_writes);
    tokio::pin!(up, down);
    let rest = tokio::select! {
        passed = &mut up => passed.is_ok().then_some(down),
        passed = &mut down => passed.is_ok().then_some(up),
    };
    if let Some(rest) = rest {
        // However it ends, both sockets are closed.
        timeout(LINGER, rest).await.ok();
    }
}

/// Passes bytes one way, and the end as well.
async fn pass<S>(from: ReadHalf<S>, mut to: WriteHalf<S>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    copy_buf(&mut BufReader::with_capacity(BUFFER_BYTES, from), &mut to).await?;
    to.shutdown().await
}
