//! The PROXY protocol: what a balancer says of a connection in front of its first byte.
//!
//! Source: HAProxy, "The PROXY protocol", versions 1 and 2, sections 2.1 and 2.2.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Longest header that is taken, in bytes. Version 1 needs 107; what is longer in version 2 are values that say
/// nothing of the address.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Longest header of version 1, its line end included.
const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// Which versions of the header are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// None: connections begin with HTTP or TLS.
    #[default]
    Off,
    /// The line of text.
    V1,
    /// The binary one.
    V2,
    /// Either.
    Any,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its bytes.
    pub length: usize,
    /// The client's address. `None` if the proxy speaks for itself (`LOCAL`, a health check), or the address is none
    /// of IP (`UNKNOWN`, unix sockets): the connection's own address then counts.
    pub source: Option<IpAddr>,
}

/// Why the first bytes of a connection are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// They begin like none.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// They are one of the other version.
    #[error("a PROXY header of a version that client.proxy_protocol does not allow")]
    Version,
    /// They begin like one, and do not go on so.
    #[error("a malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// One of a connection that has none.
    #[error(
        "a PROXY header from an address that client.trusted_proxies does not name, or while client.proxy_protocol is off"
    )]
    Stranger,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("a PROXY header of more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

impl ProxyHeader {
    /// Reads the header that `bytes` begin with; `None` while more bytes are needed to tell.
    ///
    /// # Errors
    /// [`HeaderFault`], as soon as it is certain.
    pub fn parse(bytes: &[u8], allowed: ProxyProtocol) -> Result<Option<Self>, HeaderFault> {
        let (v1, v2) = match allowed {
            ProxyProtocol::Off => (false, false),
            ProxyProtocol::V1 => (true, false),
            ProxyProtocol::V2 => (false, true),
            ProxyProtocol::Any => (true, true),
        };
        // No byte of the two is the same, so that the first one tells.
        match (begins(bytes, V1_START), begins(bytes, V2_SIGNATURE)) {
            (false, false) => Err(HeaderFault::Missing),
            (true, true) => Ok(None),
            (true, false) if v1 => parse_v1(bytes),
            (false, true) if v2 => parse_v2(bytes),
            _ if looks_like_header(bytes) => Err(HeaderFault::Version),
            _ => Ok(None),
        }
    }
}

/// Whether `bytes` begin like a header of either version: somebody expects us to understand it.
pub fn looks_like_header(bytes: &[u8]) -> bool {
    bytes.starts_with(V1_START) || bytes.starts_with(V2_SIGNATURE)
}

/// Whether `bytes` and `start` are the same as far as both go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
    let line = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        let whole = line.len() == V1_BYTES_MAX;
        return if whole { Err(HeaderFault::Malformed("its line does not end")) } else { Ok(None) };
    };
    let fault = HeaderFault::Malformed;
    let text = std::str::from_utf8(&line[..end]).map_err(|_| fault("its line is not ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    let source = match family {
        // Whatever stands behind it is to be ignored.
        "UNKNOWN" => None,
        "TCP4" | "TCP6" => {
            let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok());
            let (source, destination) = (address(), address());
            let is_of_family = |address: Option<IpAddr>| {
                address
                    .filter(|address| address.is_ipv4() == (family == "TCP4"))
                    .ok_or(fault("an address is none of its family"))
            };
            let source = is_of_family(source)?;
            is_of_family(destination)?;
            let mut port = || words.next().is_some_and(is_port);
            if !(port() && port() && words.next().is_none()) {
                return Err(fault("two ports are to follow, and nothing else"));
            }
            Some(source.to_canonical())
        }
        _ => return Err(fault("its family is none of TCP4, TCP6 and UNKNOWN")),
    };
    Ok(Some(ProxyHeader { length: end + 2, source }))
}

fn is_port(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse::<u16>().is_ok()
}

fn parse_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderFault> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let body_bytes = usize::from(u16::from_be_bytes([high, low]));
    let length = V2_FIXED_BYTES + body_bytes;
    let fault = HeaderFault::Malformed;
    if command >> 4 != 2 {
        return Err(fault("its version is not 2"));
    }
    if length > HEADER_BYTES_MAX {
        return Err(HeaderFault::TooLong);
    }
    let is_local = match command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(fault("its command is neither LOCAL nor PROXY")),
    };
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(fault("its family or transport does not exist"));
    }
    let Some(body) = rest.get(..body_bytes) else { return Ok(None) };
    if is_local {
        return Ok(Some(ProxyHeader { length, source: None }));
    }
    let short = fault("it is too short for its addresses");
    let (source, address_bytes) = match family >> 4 {
        1 => (body.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()), 12),
        2 => (body.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).to_canonical()), 36),
        3 => (None, 216),
        _ => (None, 0),
    };
    check_values(body.get(address_bytes..).ok_or(short)?)?;
    Ok(Some(ProxyHeader { length, source }))
}

/// The values behind the addresses: a type, a length of 2 bytes, and so many bytes each. They say nothing that matters here,
/// but what is cut in the middle of one was not written by a proxy.
fn check_values(mut rest: &[u8]) -> Result<(), HeaderFault> {
    while !rest.is_empty() {
        let value = match rest {
            [_, high, low, value @ ..] => value.get(usize::from(u16::from_be_bytes([*high, *low]))..),
            _ => None,
        };
        rest = value.ok_or(HeaderFault::Malformed("a value behind its addresses is cut"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ProxyProtocol::{Any, Off, V1, V2};

    type Parsed = Result<Option<ProxyHeader>, HeaderFault>;

    fn whole(length: usize, source: Option<&str>) -> Parsed {
        Ok(Some(ProxyHeader { length, source: source.map(|source| source.parse().unwrap()) }))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    fn ipv4() -> Vec<u8> {
        vec![192, 0, 2, 1, 10, 0, 0, 1, 0xc3, 0x50, 0x01, 0xbb]
    }

    /// Every beginning of a good header asks for more, and what follows it changes nothing.
    fn check_whole(bytes: &[u8], allowed: ProxyProtocol, source: Option<&str>) {
        for end in 0..bytes.len() {
            assert_eq!(ProxyHeader::parse(&bytes[..end], allowed), Ok(None), "{end} of {bytes:?}");
        }
        let followed = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        for bytes in [bytes, &followed] {
            assert_eq!(ProxyHeader::parse(bytes, allowed), whole(followed.len() - 18, source), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 50000 443\r\n", Some("192.0.2.1")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n", Some("2001:db8::1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Some("192.0.2.1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        ] {
            check_whole(line.as_bytes(), V1, source);
            check_whole(line.as_bytes(), Any, source);
            assert_eq!(ProxyHeader::parse(line.as_bytes(), V2), Err(HeaderFault::Version), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused_as_soon_as_it_has_ended() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 +2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n",
            "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n",
            "PROXY TCP6 2001:db8::1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 \u{e9} 1 2\r\n",
        ] {
            let parsed = ProxyHeader::parse(line.as_bytes(), V1);
            assert!(matches!(parsed, Err(HeaderFault::Malformed(_))), "{line}: {parsed:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(93));
        assert_eq!(ProxyHeader::parse(&endless.as_bytes()[..106], V1), Ok(None));
        assert_eq!(
            ProxyHeader::parse(&endless.as_bytes()[..107], V1),
            Err(HeaderFault::Malformed("its line does not end"))
        );
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(ProxyHeader::parse(longest.as_bytes(), V1), whole(107, None));
    }

    #[test]
    fn a_header_of_version_2_names_the_client() {
        let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0; 16]].concat();
        let ipv6 = [ipv6, vec![0; 4]].concat();
        let values = [ipv4(), vec![0x04, 0, 3, 1, 2, 3], vec![0x20, 0, 0]].concat();
        for (header, source) in [
            (v2(0x21, 0x11, &ipv4()), Some("192.0.2.1")),
            (v2(0x21, 0x12, &ipv4()), Some("192.0.2.1")),
            (v2(0x21, 0x21, &ipv6), Some("2001:db8::1")),
            (v2(0x21, 0x11, &values), Some("192.0.2.1")),
            // Unix sockets, an unknown family, and the proxy's own connections.
            (v2(0x21, 0x31, &[b'x'; 216]), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &ipv4()), None),
            (v2(0x20, 0x11, b"no address"), None),
        ] {
            check_whole(&header, V2, source);
            check_whole(&header, Any, source);
            assert_eq!(ProxyHeader::parse(&header, V1), Err(HeaderFault::Version));
        }
    }

    #[test]
    fn a_header_of_version_2_that_cannot_be_is_refused() {
        let cut = [ipv4(), vec![0x04, 0, 3, 1, 2]].concat();
        for header in [
            v2(0x11, 0x11, &ipv4()),
            v2(0x22, 0x11, &ipv4()),
            v2(0x21, 0x41, &ipv4()),
            v2(0x21, 0x13, &ipv4()),
            v2(0x21, 0x11, &ipv4()[..11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x21, 0x11, &cut),
            v2(0x21, 0x11, &cut[..14]),
        ] {
            let parsed = ProxyHeader::parse(&header, V2);
            assert!(matches!(parsed, Err(HeaderFault::Malformed(_))), "{header:?}: {parsed:?}");
        }
    }

    #[test]
    fn a_header_may_be_4096_bytes_long_and_no_byte_longer() {
        let padded = |length: u16| {
            let value = length - 16 - 12 - 3;
            let value = [&[0x04], &value.to_be_bytes()[..], &vec![0; value.into()]].concat();
            v2(0x21, 0x11, &[ipv4(), value].concat())
        };
        assert_eq!(ProxyHeader::parse(&padded(4096), V2), whole(4096, Some("192.0.2.1")));
        // It is refused by what it announces.
        assert_eq!(ProxyHeader::parse(&padded(4097)[..16], V2), Err(HeaderFault::TooLong));
    }

    #[test]
    fn http_and_tls_are_no_header() {
        for bytes in
            [b"GET / HTTP/1.1\r\n".as_slice(), b"\x16\x03\x01", b"P ", b"PROXI ", b"\r\n\r\n\r\n", b"POST "]
        {
            for allowed in [V1, V2, Any] {
                assert_eq!(ProxyHeader::parse(bytes, allowed), Err(HeaderFault::Missing), "{bytes:?}");
            }
        }
        assert!(looks_like_header(b"PROXY TCP4") && looks_like_header(&v2(0x21, 0, b"")));
        assert!(!looks_like_header(b"PROX") && !looks_like_header(b"GET / HTTP/1.1"));
        assert_eq!(ProxyHeader::parse(b"PROXY TCP4 ", Off), Err(HeaderFault::Version));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_header_is_longer_than_its_bytes(
            start in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let start: &[u8] = [b"".as_slice(), V1_START, V2_SIGNATURE][start];
            let bytes = [start, &bytes].concat();
            for allowed in [Off, V1, V2, Any] {
                if let Ok(Some(header)) = ProxyHeader::parse(&bytes, allowed) {
                    prop_assert!(header.length <= bytes.len());
                }
            }
        }
    }
}
