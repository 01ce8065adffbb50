//! The names of Socket.IO things, one type each so that they cannot be confused.

use rand::RngCore;
use smol_str::SmolStr;

use crate::name::{URL_SAFE, random_text};

/// Characters of a socket id on revision 5. Other servers tell private rooms from ordinary ones by
/// this length (sharded Redis adapter), so it is exact.
pub const SOCKET_ID_CHARS: usize = 20;

crate::name!(
    /// A namespace with its leading slash; `/` is the main one.
    NamespaceName
);
crate::name!(
    /// A room of one namespace. Every socket is also in the room named by its own id.
    RoomName
);
crate::name!(
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
        Self(random_text::<SOCKET_ID_CHARS>(rng, URL_SAFE))
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
        assert!(a.as_str().bytes().all(|byte| URL_SAFE.contains(&byte)));
        assert_ne!(a, b);
    }

    #[test]
    fn namespaces_gain_their_slash() {
        assert_eq!(NamespaceName::normalized("chat").as_str(), "/chat");
        assert_eq!(NamespaceName::normalized("").as_str(), "/");
        assert_eq!(NamespaceName::normalized("/a").as_str(), "/a");
    }
}
