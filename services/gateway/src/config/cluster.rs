//! The port between gateways: where it is, how others reach it, and who the others are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The port between gateways, on which they forward requests to the owner of a session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterConfig {
    /// Address and port. Default `127.0.0.1:7420`. Environment: `ROOMCAST__CLUSTER__LISTEN`.
    ///
    /// 7420 is registered to nobody, lies below the ports that systems draw from, and none of what runs beside
    /// a gateway (Redis, Consul, etcd, Kubernetes, Prometheus) takes it.
    #[serde(deserialize_with = "super::address")]
    pub(crate) listen: SocketAddr,
    /// Address by which other gateways reach `listen`. Default: `listen`, with the address of the interface that
    /// the default route leaves by if it is 0.0.0.0 or [::].
    #[serde(deserialize_with = "super::optional_address")]
    pub(crate) advertise: Option<SocketAddr>,
    /// Other gateways that are there whatever the node directory says. Default none.
    pub(crate) peers: Vec<StaticPeer>,
    /// Whether gateways without `node.secret_file` use a key that everybody knows. Default false.
    pub(crate) insecure: bool,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)),
            advertise: None,
            peers: Vec::new(),
            insecure: false,
        }
    }
}

impl ClusterConfig {
    /// The address that other gateways reach this one by, when its port is open on `bound`.
    ///
    /// # Errors
    /// In words: it cannot be told from the configuration or the system.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> Result<SocketAddr, String> {
        let advertised = self.advertise.unwrap_or(bound);
        let port = if advertised.port() == 0 { bound.port() } else { advertised.port() };
        if !advertised.ip().is_unspecified() {
            return Ok(SocketAddr::new(advertised.ip(), port));
        }
        let own = own_address(bound.ip()).map(|ip| SocketAddr::new(ip, port));
        own.ok_or_else(|| {
            "the system has no default route to tell our address from; set cluster.advertise \
             to the IP address and port by which other gateways reach this one"
                .into()
        })
    }
}

/// The address of the interface that the default route leaves by, of the family of `wildcard` first.
fn own_address(wildcard: IpAddr) -> Option<IpAddr> {
    // Connecting a datagram socket sends nothing and chooses the address that would be sent from. Both targets
    // are reserved for documentation (RFC 5737, RFC 3849): no route but the default one leads to them.
    let towards = |from: SocketAddr, to: SocketAddr| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    let v4 = || towards((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into());
    let v6 = || {
        let target = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        towards((Ipv6Addr::UNSPECIFIED, 0).into(), (target, 9).into())
    };
    // [::] takes connections of both families, unless the system is told otherwise.
    if wildcard.is_ipv4() { v4() } else { v6().or_else(v4) }
}

/// Another gateway as the configuration names it: `2=10.0.0.2:7420`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaticPeer {
    /// Its `node.id`.
    pub(crate) node: u16,
    /// Its cluster port.
    pub(crate) address: SocketAddr,
}

impl<'de> Deserialize<'de> for StaticPeer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('=').and_then(|(node, address)| {
            Some(Self { node: node.trim().parse().ok()?, address: address.trim().parse().ok()? })
        });
        parsed.ok_or_else(|| {
            let allowed =
                "a node.id, = and the IP address and port of its cluster port, such as 2=10.0.0.2:7420";
            de::Error::invalid_value(de::Unexpected::Str(&text), &allowed)
        })
    }
}

impl Serialize for StaticPeer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}={}", self.node, self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(listen: &str, advertise: Option<&str>) -> String {
        let advertise = advertise.map(|text| text.parse().unwrap());
        let config = ClusterConfig { advertise, ..ClusterConfig::default() };
        config.advertised(listen.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn what_is_advertised_is_what_is_set_or_else_where_we_listen() {
        assert_eq!(advertised("10.0.0.1:7420", None), "10.0.0.1:7420");
        assert_eq!(advertised("0.0.0.0:7420", Some("10.0.0.9:1")), "10.0.0.9:1");
        // The port that 0 became.
        assert_eq!(advertised("127.0.0.1:40000", Some("10.0.0.9:0")), "10.0.0.9:40000");
    }

    #[test]
    fn a_wildcard_is_never_advertised() {
        let config = ClusterConfig::default();
        for wildcard in ["0.0.0.0:7420", "[::]:7420"] {
            // A machine without any network has no address to tell, and says so.
            match config.advertised(wildcard.parse().unwrap()) {
                Ok(address) => assert!(!address.ip().is_unspecified() && address.port() == 7420, "{address}"),
                Err(problem) => assert!(problem.contains("set cluster.advertise"), "{problem}"),
            }
        }
    }
}
