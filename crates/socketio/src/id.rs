//! The names of Socket.IO things, one type each so that they cannot be confused.

use std::fmt;

use rand::RngCore;
use smol_str::SmolStr;

/// Characters of a socket id on revision 5. Other servers tell private rooms from ordinary ones by
/// this length (sharded Redis adapter), so it is exact.
pub const SOCKET_ID_CHARS: usize = 20;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// Takes any text as it is; up to 23 bytes are held without an allocation.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
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

name!(
    /// A namespace with its leading slash; `/` is the main one.
    NamespaceName
);
name!(
    /// A room of one namespace. Every socket is also in the room named by its own id.
    RoomName
);
name!(
    /// The public id of one socket in one namespace; also the name of its own room.
    SocketId
);

impl NamespaceName {
    /// The main namespace, `/`.
    pub fn main() -> Self {
        Self(SmolStr::new_static("/"))
    }

    /// `chat` and `/chat` both name `/chat`; the empty text names `/`.
    pub fn normalized(text: &str) -> Self {
        match text {
            // Most publishes: nothing is to be written for them.
            "" | "/" => Self::main(),
            _ if text.starts_with('/') => Self::new(text),
            _ => Self(format!("/{text}").into()),
        }
    }
}

impl SocketId {
    /// Draws an id of [`SOCKET_ID_CHARS`] characters of `A-Za-z0-9-_`, 120 bits, from `rng`.
    pub fn random(rng: &mut impl RngCore) -> Self {
        let mut bytes = [0_u8; SOCKET_ID_CHARS];
        rng.fill_bytes(&mut bytes);
        let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        Self(SmolStr::new(text))
    }

    /// This id as the room that it names.
    pub fn as_room(&self) -> RoomName {
        RoomName(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn socket_ids_are_twenty_url_safe_characters_and_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        let (a, b) = (SocketId::random(&mut rng), SocketId::random(&mut rng));
        assert_eq!(a.as_str().len(), SOCKET_ID_CHARS);
        assert!(a.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(a, b);
    }

    #[test]
    fn namespaces_gain_their_slash() {
        assert_eq!(NamespaceName::normalized("chat").as_str(), "/chat");
        assert_eq!(NamespaceName::normalized("").as_str(), "/");
        assert_eq!(NamespaceName::normalized("/a").as_str(), "/a");
    }
}
