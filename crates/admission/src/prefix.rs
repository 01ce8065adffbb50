//! Ranges of addresses, as configuration writes them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The addresses that share their first bits: `10.0.0.0/8`, `2001:db8::/32`, or one address.
///
/// An IPv4 address in the clothes of IPv6 (`::ffff:10.0.0.1`) is that IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Its bits behind the prefix are 0.
    base: IpAddr,
    bits: u8,
}

/// Text that is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor an address, a slash and a number of bits.
    #[error("an IP address, or a range such as 10.0.0.0/8 or 2001:db8::/32")]
    Form,
    /// An address within the range instead of its first one: it is not clear which of the two is meant.
    #[error("a range that begins with its first address: {0}")]
    Inside(Prefix),
}

impl Prefix {
    /// The range of the first `bits` bits around `address`; all of it if there are not so many.
    pub fn around(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Self { base: Ipv4Addr::from_bits(address.to_bits() & mask).into(), bits }
            }
            IpAddr::V6(address) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Self { base: Ipv6Addr::from_bits(address.to_bits() & mask).into(), bits }
            }
        }
    }

    /// Whether `address` is in this range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && Self::around(address, self.bits).base == self.base
    }
}

/// Whether `address` is in one of `ranges`.
pub fn contains(ranges: &[Prefix], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Form)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => bits_max,
            Some(bits) if bits.bytes().all(|digit| digit.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or(PrefixError::Form)?
            }
            Some(_) => return Err(PrefixError::Form),
        };
        // A range of mapped addresses that is wider than IPv4 would mean two things at once.
        let bits = match address.to_canonical() {
            canonical if canonical.is_ipv4() == address.is_ipv4() => bits,
            _ => bits.checked_sub(96).ok_or(PrefixError::Form)?,
        };
        let prefix = Self::around(address, bits);
        if prefix.base == address.to_canonical() { Ok(prefix) } else { Err(PrefixError::Inside(prefix)) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.trim().parse().map_err(|error: PrefixError| {
            de::Error::invalid_value(de::Unexpected::Str(&text), &error.to_string().as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let parsed = text.parse::<Prefix>();
        let told = parsed.map(|prefix| prefix.to_string()).map_err(|error| error.to_string());
        assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn ranges_are_written_as_in_routers_and_an_address_is_a_range_of_one() {
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("127.0.0.1", Ok("127.0.0.1/32"));
        check("::/0", Ok("::/0"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("::1", Ok("::1/128"));
        check("::ffff:10.0.0.0/104", Ok("10.0.0.0/8"));
        let form = "an IP address, or a range such as 10.0.0.0/8 or 2001:db8::/32";
        for text in [
            "",
            "/8",
            "10/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host",
            "::ffff:10.0.0.0/95",
        ] {
            check(text, Err(form));
        }
        check("10.0.0.1/8", Err("a range that begins with its first address: 10.0.0.0/8"));
        check("2001:db8::1/64", Err("a range that begins with its first address: 2001:db8::/64"));
    }

    #[test]
    fn a_range_has_its_first_and_last_address_and_neither_neighbour() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("192.0.2.7/32", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            (
                "2001:db8:0:1::/64",
                ["2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
                ["2001:db8::", "2001:db8:0:2::"],
            ),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1"]),
            ("::/0", ["::", "ffff::"], ["0.0.0.0", "::ffff:1.2.3.4"]),
        ] {
            let range: Prefix = range.parse().unwrap();
            let has = |address: &str| range.contains(address.parse().unwrap());
            assert!(inside.iter().all(|address| has(address)), "{range}");
            assert!(!outside.iter().any(|address| has(address)), "{range}");
        }
    }
}
