//! The names by which nodes and their requests are told apart.

use std::fmt;

use rand::RngCore;
use smol_str::SmolStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX: &[u8; 16] = b"0123456789abcdef";

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// Takes any text as it is.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// Draws six characters of `A-Za-z0-9-_`, as the classic adapter does.
            pub fn random_classic(rng: &mut impl RngCore) -> Self {
                Self(random::<6>(rng, ALPHABET))
            }

            /// Draws sixteen hexadecimal digits, as the sharded adapter does.
            pub fn random_sharded(rng: &mut impl RngCore) -> Self {
                Self(random::<16>(rng, HEX))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

id!(
    /// One namespace of one node, by which it knows its own messages; emitters all use `emitter`.
    Uid
);
id!(
    /// One request to the other nodes, by which its answers are matched.
    RequestId
);

/// `N` characters of an alphabet with 16 or 64 of them.
fn random<const N: usize>(rng: &mut impl RngCore, alphabet: &[u8]) -> SmolStr {
    let mut bytes = [0_u8; N];
    rng.fill_bytes(&mut bytes);
    let text: String =
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect();
    SmolStr::new(text)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn drawn_ids_have_the_form_of_their_adapter() {
        let mut rng = StdRng::seed_from_u64(7);
        let (classic, sharded) = (Uid::random_classic(&mut rng), RequestId::random_sharded(&mut rng));
        assert_eq!(classic.as_str().len(), 6);
        assert!(classic.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(sharded.as_str().len(), 16);
        assert!(sharded.as_str().bytes().all(|byte| HEX.contains(&byte)));
        assert_ne!(classic, Uid::random_classic(&mut rng));
    }
}
