//! A client's socket once it is a WebSocket: plain or TLS, never blocking.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustix::{
    io::{Errno, retry_on_intr},
    net::SendFlags,
};
use rustls::ServerConnection;

/// A non-blocking byte stream whose readiness comes from the shard's own poll.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

/// TLS over a socket. `rustls` keeps the records; this moves them.
pub(crate) struct TlsSocket {
    stream: TcpStream,
    session: ServerConnection,
}

impl Socket {
    /// Takes a stream and the TLS session that is spoken over it.
    pub(crate) fn tls(stream: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(TlsSocket { stream, session }))
    }

    /// Makes `registry` report readiness under `token`, once per change.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.stream_mut(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Ends what [`Self::register`] began.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.stream_mut())
    }

    /// Whether a read of fewer bytes than asked for means that there is no more for now.
    pub(crate) fn short_read_is_last(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Tells the other side that nothing more will be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            tls.push()?;
        }
        self.stream_mut().shutdown(Shutdown::Write)
    }

    /// Looks at the first bytes without taking them; 0 is the end of the stream.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.peek(buffer),
            // What is in front of TLS is looked at before it is TLS.
            Self::Tls(_) => Ok(0),
        }
    }

    fn stream_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }

    /// The plain stream, if it is one.
    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => rustix::io::read(stream, buffer).map_err(io::Error::from),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes what is taken at once; fewer bytes than offered means that the socket will become writable.
    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            // `rustix` makes the system call itself: the C library's way in costs as much again as the rest of a
            // delivery, because it looks out for thread cancellation.
            Self::Plain(stream) => not_yet(retry_on_intr(|| match slices {
                [slice] => rustix::net::send(&*stream, slice, SendFlags::NOSIGNAL),
                _ => rustix::io::writev(&*stream, slices),
            })),
            Self::Tls(tls) => tls.write(slices),
        }
    }

    /// The socket takes bytes again: moves records that waited.
    pub(crate) fn handle_writable(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.push().map(drop),
        }
    }
}

impl TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that hangs up without a close_notify has closed all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if self.session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(io::Error::other)?;
            self.push()?;
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                // The record buffer is bounded: when it is full, it has to leave first.
                let accepted = self.session.writer().write(rest)?;
                taken += accepted;
                rest = &rest[accepted..];
                if !self.push()? {
                    return Ok(taken);
                }
            }
        }
        Ok(taken)
    }

    /// Moves records to the socket; false if some have to wait.
    fn push(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn not_yet(written: Result<usize, Errno>) -> io::Result<usize> {
    match written {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
