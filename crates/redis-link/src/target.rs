//! The URL of the configuration as something to connect to.

use std::fmt;
use std::path::PathBuf;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// Host name or address, and port.
    Tcp { host: String, port: u16 },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// What the URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One server, or several of which the first that is a master is used.
    Servers { endpoints: Vec<Endpoint>, tls: bool },
    /// Sentinels that know where the master called `master` is.
    Sentinel { sentinels: Vec<Endpoint>, master: String, tls: bool },
    /// Some members of a Redis Cluster.
    Cluster { seeds: Vec<Endpoint>, tls: bool },
}

/// Why a URL names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetFault {
    #[error(
        "{0:?} is no scheme of this; allowed: redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// \
         (rediss+… with TLS)"
    )]
    Scheme(String),
    #[error("{0:?} is no address; allowed: host:port or [address]:port")]
    Address(String),
    #[error(
        "allowed: a URL without user and password; set username and password_file, which are not printed"
    )]
    Password,
    #[error("the name of the master is missing; allowed: redis+sentinel://host:port,host:port/name")]
    Master,
    #[error("{0:?} after the address is not understood; the database is the key database")]
    Path(String),
    #[error("allowed: one scheme for all of several URLs, and unix:// or TLS alone")]
    Mixed,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl Target {
    /// Reads what [`LinkConfig::url`](crate::LinkConfig::url) may hold.
    pub(crate) fn parse(url: &str) -> Result<Self, TargetFault> {
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| TargetFault::Scheme(url.into()))?;
        if rest.contains('@') {
            return Err(TargetFault::Password);
        }
        // Each of several URLs may repeat the scheme.
        let again = format!("{scheme}://");
        let items = || rest.split(',').map(str::trim).map(|item| item.strip_prefix(&again).unwrap_or(item));
        let endpoints = |port| items().map(|item| endpoint(item, port)).collect::<Result<Vec<_>, _>>();
        let tls = scheme.starts_with("rediss");
        match scheme {
            "unix" | "redis+unix" => {
                let endpoints: Vec<_> = items().map(|path| Endpoint::Unix(path.into())).collect();
                match endpoints.iter().any(|path| !matches!(path, Endpoint::Unix(path) if path.is_absolute()))
                {
                    true => Err(TargetFault::Address(rest.into())),
                    false => Ok(Self::Servers { endpoints, tls: false }),
                }
            }
            _ if items().any(|item| item.contains("://")) => Err(TargetFault::Mixed),
            "redis" | "rediss" => Ok(Self::Servers { endpoints: endpoints(PORT)?, tls }),
            "redis+cluster" | "rediss+cluster" => Ok(Self::Cluster { seeds: endpoints(PORT)?, tls }),
            "redis+sentinel" | "rediss+sentinel" => {
                let (hosts, master) = rest.split_once('/').ok_or(TargetFault::Master)?;
                if master.is_empty() || master.contains('/') {
                    return Err(TargetFault::Master);
                }
                let sentinels = hosts.split(',').map(|item| endpoint(item.trim(), SENTINEL_PORT));
                let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
                Ok(Self::Sentinel { sentinels, master: master.into(), tls })
            }
            _ => Err(TargetFault::Scheme(scheme.into())),
        }
    }
}

/// One `host`, `host:port` or `[address]:port`; a single slash may follow.
fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, TargetFault> {
    let (address, path) = text.split_once('/').unwrap_or((text, ""));
    if !path.is_empty() {
        return Err(TargetFault::Path(format!("/{path}")));
    }
    let wrong = || TargetFault::Address(text.into());
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Ok(default_port), str::parse).map_err(|_| wrong())?;
    let is_plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "?#".contains(c));
    if !is_plain || port == 0 { Err(wrong()) } else { Ok(Endpoint::Tcp { host: host.into(), port }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.into(), port }
    }

    #[test]
    fn urls_of_every_topology_are_read() {
        let check = |url: &str, expected: Target| assert_eq!(Target::parse(url), Ok(expected), "{url}");
        let servers = |endpoints: &[Endpoint], tls| Target::Servers { endpoints: endpoints.to_vec(), tls };
        check("redis://h", servers(&[tcp("h", 6379)], false));
        check("rediss://h:1/", servers(&[tcp("h", 1)], true));
        check("redis://[::1]:7,redis://b:8", servers(&[tcp("::1", 7), tcp("b", 8)], false));
        check("unix:///run/r.sock", servers(&[Endpoint::Unix("/run/r.sock".into())], false));
        let sentinels = vec![tcp("a", 1), tcp("b", 26379)];
        let master = "m".to_owned();
        check("redis+sentinel://a:1,b/m", Target::Sentinel { sentinels, master, tls: false });
        check(
            "rediss+cluster://a:1,b",
            Target::Cluster { seeds: vec![tcp("a", 1), tcp("b", 6379)], tls: true },
        );
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis://:secret@h",
            "redis://h/3",
            "redis://h:0",
            "redis://h:70000",
            "redis://a,unix:///b",
            "unix://relative",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
