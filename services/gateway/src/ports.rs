//! Opens the ports, all before anything runs, so that a port in use is known at once.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the system keeps for us until they are accepted, per listener.
const BACKLOG: i32 = 4096;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key})")]
pub(crate) struct PortError {
    /// The key to change.
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Opens one port.
///
/// # Errors
/// [`PortError`], for example when it is in use.
pub(crate) fn open(key: &'static str, address: SocketAddr) -> Result<TcpListener, PortError> {
    listen(address, Sharing::Alone).map_err(|source| PortError { key, address, source })
}

/// Opens one port `count` times; the system spreads connections over the listeners.
///
/// # Errors
/// [`PortError`], also when another process shares the port already: half of the clients would be its.
pub(crate) fn open_shared(
    key: &'static str,
    address: SocketAddr,
    count: u8,
) -> Result<Vec<TcpListener>, PortError> {
    let listeners = || {
        // Bound and not listened on: a client that comes now is refused, and not taken and dropped.
        let reserved = bind(address, Sharing::Alone)?;
        // The address that a port of 0 becomes is that of all listeners.
        let address = reserved.local_addr()?.as_socket().unwrap_or(address);
        drop(reserved);
        (0..count).map(|_| listen(address, Sharing::Shared)).collect::<io::Result<_>>()
    };
    listeners().map_err(|source| PortError { key, address, source })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn listen(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = bind(address, sharing)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a message leaves with the write that holds it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_shared_port_is_one_port_for_all_listeners() {
        let listeners = open_shared("client.listen", ANY, 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn a_port_in_use_is_an_error_even_if_it_could_be_shared() {
        let first = open_shared("client.listen", ANY, 1).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = open_shared("client.listen", address, 1).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot listen on {address} (client.listen)")),
            "{error}"
        );
    }
}
