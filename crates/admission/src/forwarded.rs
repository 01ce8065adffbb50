//! `X-Forwarded-For`: what proxies say of the client.

use core::net::{IpAddr, SocketAddr};

use crate::prefix::{Prefix, contains};

/// The address of the client whose request came from `peer`.
///
/// `values` are the values of the request's `X-Forwarded-For` headers in their order, each a list of addresses that are
/// joined by commas, the client first and the last proxy last. They count only as far as `trusted` proxies have
/// written them: the answer is the rightmost address that is none of these, be it `peer` itself. If all are proxies, or what
/// a proxy has written is no address, it is the last one that is known.
///
/// Source: MDN, `X-Forwarded-For`, "selecting an IP address": the rightmost untrusted hop.
pub fn client_address<'a, V>(peer: IpAddr, trusted: &[Prefix], values: V) -> IpAddr
where
    V: IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
{
    let mut known = peer.to_canonical();
    let hops = values.into_iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    let mut hops = hops.map(<[u8]>::trim_ascii);
    while contains(trusted, known) {
        match hops.next().and_then(parse) {
            Some(address) => known = address,
            None => break,
        }
    }
    known
}

/// An address, with a port or without, in brackets or not.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, values: &[&str], expected: &str) {
        let trusted: Vec<Prefix> = ["10.0.0.0/8", "2001:db8::/32"].map(|range| range.parse().unwrap()).into();
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let found = client_address(peer.parse().unwrap(), &trusted, values.iter().copied());
        assert_eq!(found.to_string(), expected, "{peer} {values:?}");
    }

    #[test]
    fn what_strangers_say_counts_for_nothing() {
        check("192.0.2.1", &["198.51.100.1"], "192.0.2.1");
        check("192.0.2.1", &["10.0.0.1, 198.51.100.1"], "192.0.2.1");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.1"], "192.0.2.1");
        // The first one is what the client itself has sent.
        check("10.0.0.1", &["198.51.100.1, 192.0.2.1"], "192.0.2.1");
        check("10.0.0.1", &["198.51.100.1, 192.0.2.1, 10.1.1.1"], "192.0.2.1");
        check("10.0.0.1", &["198.51.100.1", "192.0.2.1", "10.1.1.1,10.2.2.2"], "192.0.2.1");
        check("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1");
        check("2001:db8::1", &["2001:db9::7 , 10.0.0.3"], "2001:db9::7");
    }

    #[test]
    fn proxies_alone_are_the_client_themselves() {
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        check("10.0.0.1", &["192.0.2.1:50000"], "192.0.2.1");
        check("10.0.0.1", &["[2001:db9::7]:443"], "2001:db9::7");
        check("10.0.0.1", &["[2001:db9::7]"], "2001:db9::7");
    }

    #[test]
    fn garbage_ends_the_chain_where_it_stands() {
        for garbage in ["unknown", "", "192.0.2.1.2", "_hidden", "\u{1f600}", "1.2.3.4:99999", "[::1"] {
            check("10.0.0.1", &[&format!("198.51.100.1, {garbage}, 10.0.0.2")], "10.0.0.2");
            check("10.0.0.1", &[garbage], "10.0.0.1");
        }
    }
}
