//! A socket that a task waits for.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use mio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::parking::{Place, Way};

/// A client's stream, whose events come from the poll of the shard's thread.
pub(crate) struct TaskSocket {
    stream: TcpStream,
    place: Place,
}

impl TaskSocket {
    /// Takes a stream that hangs on no poll.
    ///
    /// # Errors
    /// When the system's poll has no room.
    pub(crate) fn new(mut stream: TcpStream) -> io::Result<Self> {
        let place = Place::take(&mut stream)?;
        Ok(Self { stream, place })
    }

    /// A stream to `address`.
    ///
    /// # Errors
    /// When it cannot be connected to, as soon as that is known.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::new(TcpStream::connect(address)?)?;
        poll_fn(|cx| socket.poll_connected(cx)).await?;
        Ok(socket)
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.stream.take_error()? {
            return Poll::Ready(Err(error));
        }
        match self.stream.peer_addr() {
            // The socket becomes writable when the handshake is over, however it went.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.place.wait(Way::Write, cx.waker());
                Poll::Pending
            }
            connected => Poll::Ready(connected.map(drop)),
        }
    }

    /// The stream itself, for its options.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The bare stream, which hangs on no poll.
    pub(crate) fn into_stream(mut self) -> TcpStream {
        self.place.leave(&mut self.stream);
        self.stream
    }
}

impl AsyncRead for TaskSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.place.is_drained() {
            let room = buffer.initialize_unfilled();
            let asked = room.len();
            match self.stream.read(room) {
                Ok(count) => {
                    buffer.advance(count);
                    if (1..asked).contains(&count) {
                        self.place.note_drained();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.place.note_drained(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.place.wait(Way::Read, cx.waker());
        Poll::Pending
    }
}

impl AsyncWrite for TaskSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.place.wait(Way::Write, cx.waker());
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
