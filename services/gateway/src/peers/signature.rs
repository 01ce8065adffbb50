//! How gateways know each other: every request between them is signed with a key that they share.
//!
//! The signature proves who sent the request's line, and for which client; it neither hides nor covers the body. A
//! request that was overheard could be sent again for [`CLOCK_DIFFERENCE_MAX`]; whoever can overhear it has read
//! the sid in it as well, and could do the same at the client port for as long as the session lives.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue};
use ring::hmac;
use telemetry::PeerRefusal;

/// The header with the signature: version, node, time in s since 1970, and 64 hex digits.
pub(crate) const PEER: HeaderName = HeaderName::from_static("roomcast-peer");

/// How much the clocks of two gateways may differ, and how long a signature holds.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(30);

/// What the key is made for: another use of the same secret makes another key.
const PURPOSE: &[u8] = b"roomcast: requests between gateways, version 1";

/// Signs requests between gateways, and checks them: HMAC-SHA-256.
#[derive(Clone)]
pub(crate) struct PeerKey(hmac::Key);

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// The value of `X-Forwarded-For`; empty without one.
    pub(crate) forwarded_for: &'a [u8],
}

impl PeerKey {
    /// Makes the key from the secret that all gateways share.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let made = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE);
        Self(hmac::Key::new(hmac::HMAC_SHA256, made.as_ref()))
    }

    /// The value of [`PEER`] for a request that node `node` sends `now`.
    pub(crate) fn sign(&self, request: Signed<'_>, node: u16, now: SystemTime) -> HeaderValue {
        let mut value = format!("1 {node} {}", seconds(now));
        let tag = hmac::sign(&self.0, &text(&value, request));
        value.push(' ');
        for byte in tag.as_ref() {
            write!(value, "{byte:02x}").expect("a String takes all text");
        }
        HeaderValue::try_from(value).expect("digits and spaces are a header value")
    }

    /// Whether a gateway of this cluster has sent `request` lately; `value` is that of its [`PEER`].
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn verify(
        &self,
        value: Option<&HeaderValue>,
        request: Signed<'_>,
        now: SystemTime,
    ) -> Result<(), PeerRefusal> {
        let value = value.and_then(|value| value.to_str().ok()).ok_or(PeerRefusal::Unsigned)?;
        let (claim, tag) = value.rsplit_once(' ').ok_or(PeerRefusal::Unsigned)?;
        let mut words = claim.split(' ');
        let (Some("1"), Some(_node), Some(time), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(PeerRefusal::Unsigned);
        };
        let tag = bytes(tag).ok_or(PeerRefusal::Forged)?;
        // Takes the same time whatever differs.
        hmac::verify(&self.0, &text(claim, request), &tag).map_err(|_| PeerRefusal::Forged)?;
        let time: u64 = time.parse().map_err(|_| PeerRefusal::Forged)?;
        match seconds(now).abs_diff(time) <= CLOCK_DIFFERENCE_MAX.as_secs() {
            true => Ok(()),
            false => Err(PeerRefusal::Stale),
        }
    }
}

/// What is signed. No part of it can hold a line break: HTTP has none in methods, targets and header values.
fn text(claim: &str, Signed { method, target, forwarded_for }: Signed<'_>) -> Vec<u8> {
    [claim.as_bytes(), method.as_bytes(), target.as_bytes(), forwarded_for].join(&b'\n')
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// 64 hex digits as bytes.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Signed<'_> =
        Signed { method: "GET", target: "/socket.io/?sid=x", forwarded_for: b"10.0.0.1" };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verify(value: &str, request: Signed<'_>, now: u64) -> Result<(), PeerRefusal> {
        let value = HeaderValue::from_str(value).unwrap();
        PeerKey::new(&[7; 32]).verify(Some(&value), request, at(now))
    }

    fn signed() -> String {
        PeerKey::new(&[7; 32]).sign(REQUEST, 513, at(1000)).to_str().unwrap().into()
    }

    #[test]
    fn a_signature_holds_as_long_as_clocks_may_differ() {
        for (now, expected) in [
            (1000, Ok(())),
            (1030, Ok(())),
            (970, Ok(())),
            (1031, Err(PeerRefusal::Stale)),
            (969, Err(PeerRefusal::Stale)),
        ] {
            assert_eq!(verify(&signed(), REQUEST, now), expected, "{now}");
        }
    }

    #[test]
    fn nothing_that_is_signed_can_be_changed() {
        for changed in [
            Signed { method: "POST", ..REQUEST },
            Signed { target: "/socket.io/?sid=y", ..REQUEST },
            Signed { forwarded_for: b"10.0.0.2", ..REQUEST },
        ] {
            assert_eq!(verify(&signed(), changed, 1000), Err(PeerRefusal::Forged), "{changed:?}");
        }
        let value = signed();
        for at in 2..value.len() {
            let mut bytes = value.clone().into_bytes();
            if bytes[at] != b' ' {
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                let value = String::from_utf8(bytes).unwrap();
                assert_eq!(verify(&value, REQUEST, 1000), Err(PeerRefusal::Forged), "{value}");
            }
        }
    }

    #[test]
    fn another_secret_signs_otherwise_and_garbage_is_no_signature() {
        let other = PeerKey::new(&[8; 32]).sign(REQUEST, 513, at(1000));
        assert_eq!(verify(other.to_str().unwrap(), REQUEST, 1000), Err(PeerRefusal::Forged));
        let key = PeerKey::new(&[7; 32]);
        assert_eq!(key.verify(None, REQUEST, at(1000)), Err(PeerRefusal::Unsigned));
        for garbage in ["", "1", "1 1 1000", "2 1 1000 00", "1 1 1 1000 00"] {
            assert_eq!(verify(garbage, REQUEST, 1000), Err(PeerRefusal::Unsigned), "{garbage}");
        }
        for garbage in ["1 1 1000 00", "1 1 x 00", &format!("1 1 1000 {}", "é".repeat(32))] {
            let value = HeaderValue::from_bytes(garbage.as_bytes()).unwrap();
            assert!(key.verify(Some(&value), REQUEST, at(1000)).is_err(), "{garbage}");
        }
    }
}
