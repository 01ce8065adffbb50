//! permessage-deflate: what a client offers in its handshake, and what we agree to.

use std::fmt::Write as _;

const NAME: &str = "permessage-deflate";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";
const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";

/// The window of DEFLATE itself, in bits: what a client has that names none.
const WINDOW_BITS_MAX: u8 = 15;
const WINDOW_BITS_MIN: u8 = 8;

/// What a client and we agree on. No message refers to one before it, in either direction: a compressed message is the
/// same for every client, and nothing of it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether the client wants our window named.
    names_window: bool,
    window_bits: u8,
}

impl Deflate {
    /// The first offer in `offers`, the value of a `Sec-WebSocket-Extensions` header, that can be taken.
    ///
    /// Any can that is well-formed: our messages keep to any window, and those of the client may use the largest.
    ///
    /// Source: RFC 7692 section 7.1.
    pub fn negotiate(offers: &str) -> Option<Self> {
        // A quoted value with a comma in it tears its own offer apart, which is then none: here values are numbers.
        offers.split(',').find_map(Self::offered)
    }

    fn offered(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(NAME))?;
        let mut agreed = Self { names_window: false, window_bits: WINDOW_BITS_MAX };
        let mut seen = [false; 4];
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
                None => (part, None),
            };
            let place = match (name, value) {
                (SERVER_NO_CONTEXT, None) => 0,
                (CLIENT_NO_CONTEXT, None) => 1,
                (SERVER_WINDOW, Some(bits)) => {
                    agreed = Self { names_window: true, window_bits: window_bits(bits)? };
                    2
                }
                (CLIENT_WINDOW, None) => 3,
                (CLIENT_WINDOW, Some(bits)) => {
                    window_bits(bits)?;
                    3
                }
                _ => return None,
            };
            if std::mem::replace(&mut seen[place], true) {
                return None;
            }
        }
        Some(agreed)
    }

    /// The value of the answer's `Sec-WebSocket-Extensions` header.
    pub fn answer(self) -> String {
        let mut answer = format!("{NAME}; {SERVER_NO_CONTEXT}; {CLIENT_NO_CONTEXT}");
        if self.names_window {
            write!(answer, "; {SERVER_WINDOW}={}", self.window_bits).expect("a String takes all text");
        }
        answer
    }

    /// The longest message, in bytes before compression, that is sure to keep to the client's window however it was
    /// compressed.
    pub fn window_bytes(self) -> usize {
        match self.window_bits {
            // Nothing looks back further than this in any stream.
            WINDOW_BITS_MAX => usize::MAX,
            bits => 1 << bits,
        }
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, in digits without a leading zero.
fn window_bits(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let bits = text.parse().ok().filter(|_| digits)?;
    (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn check(offers: &str, answer: Option<&str>) {
        assert_eq!(Deflate::negotiate(offers).map(Deflate::answer).as_deref(), answer, "{offers}");
    }

    #[test]
    fn offers_of_browsers_and_node_are_taken() {
        // Chromium, Firefox and Safari, and `ws`.
        check("permessage-deflate; client_max_window_bits", Some(PLAIN));
        check("permessage-deflate", Some(PLAIN));
        check("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", Some(PLAIN));
        check("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Some(PLAIN));
    }

    #[test]
    fn a_window_that_is_asked_for_is_kept_to() {
        let named = |bits| format!("{PLAIN}; server_max_window_bits={bits}");
        for bits in [8, 9, 14, 15] {
            check(&format!("permessage-deflate; server_max_window_bits={bits}"), Some(&named(bits)));
        }
        check(
            "permessage-deflate;server_max_window_bits = \"10\" ;client_max_window_bits=9",
            Some(&named(10)),
        );
        let window = |offer| Deflate::negotiate(offer).unwrap().window_bytes();
        assert_eq!(window("permessage-deflate; server_max_window_bits=10"), 1024);
        assert_eq!(window("permessage-deflate"), usize::MAX);
    }

    #[test]
    fn offers_that_are_malformed_are_passed_over() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=99999999999",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; unheard_of",
            "permessage-deflate;",
        ] {
            check(offer, None);
            check(&format!("{offer}, permessage-deflate"), Some(PLAIN));
        }
    }
}
