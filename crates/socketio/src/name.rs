//! Text that is a type of its own, so that it is not confused with other text, and text that is drawn.

use rand::RngCore;
use smol_str::SmolStr;

/// Characters that need no escape in a URL, 6 bits each.
pub const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Draws `N` characters of an alphabet with 16 or 64 of them.
pub fn random_text<const N: usize>(rng: &mut impl RngCore, alphabet: &[u8]) -> SmolStr {
    let mut bytes = [0_u8; N];
    rng.fill_bytes(&mut bytes);
    let text: String =
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect();
    SmolStr::new(text)
}

/// Declares a type of text. The crate that does so has `smol_str` among its dependencies.
#[macro_export]
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(smol_str::SmolStr);

        impl $name {
            /// Takes any text as it is; up to 23 bytes are held without an allocation.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(smol_str::SmolStr::new(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}
