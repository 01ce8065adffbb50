//! Session ids: they name the node and shard that own the session, and nobody else can make one.

use std::{fmt, hash::Hasher};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use siphasher::sip::SipHasher24;

/// Characters of a session id, as old adapters expect of ids.
pub const SESSION_ID_CHARS: usize = 20;

// 15 bytes: node (2), shard (1), nonce (5), tag (7). Nonce and tag make 96 bits that cannot be guessed.
const BYTES: usize = 15;
const TAGGED: usize = 8;

/// The secret name of one session. Whoever has it owns the session's transport, so `Debug` prints
/// its first characters only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; SESSION_ID_CHARS]);

/// Who owns a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Number of the node in its cluster.
    pub node: u16,
    /// Number of the shard in the node.
    pub shard: u8,
}

/// Authenticates session ids with a key that all nodes of a cluster share.
///
/// The tag is SipHash-2-4, a MAC made for short inputs: a forger who may try online only has a chance of 2^-56 a
/// try. HMAC-SHA-256 took a fifth of the work of a connection.
#[derive(Clone)]
pub struct SidKey(SipHasher24);

impl SidKey {
    /// Takes 32 secret, random bytes; both halves go into the MAC's key of 16.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut key = [0; 16];
        for (at, byte) in secret.iter().enumerate() {
            key[at % 16] ^= byte;
        }
        Self(SipHasher24::new_with_key(&key))
    }

    /// Makes the id of a new session of `owner`; the random part comes from `rng`.
    pub fn mint(&self, owner: Owner, rng: &mut impl RngCore) -> SessionId {
        let mut bytes = [0_u8; BYTES];
        bytes[..2].copy_from_slice(&owner.node.to_be_bytes());
        bytes[2] = owner.shard;
        rng.fill_bytes(&mut bytes[3..TAGGED]);
        let tag = self.tag(&bytes[..TAGGED]);
        bytes[TAGGED..].copy_from_slice(&tag[..BYTES - TAGGED]);
        let mut text = [0_u8; SESSION_ID_CHARS];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("15 bytes are 20 characters");
        SessionId(text)
    }

    /// The owner that `text` names, or `None` for anything that this key did not make.
    pub fn verify(&self, text: &str) -> Option<(SessionId, Owner)> {
        let id: [u8; SESSION_ID_CHARS] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0_u8; BYTES];
        URL_SAFE_NO_PAD.decode_slice(id, &mut bytes).ok().filter(|len| *len == BYTES)?;
        let tag = self.tag(&bytes[..TAGGED]);
        // Every byte is compared, so that the time taken says nothing about how many were right.
        let differences =
            bytes[TAGGED..].iter().zip(tag).fold(0, |seen, (given, right)| seen | (given ^ right));
        if differences != 0 {
            return None;
        }
        Some((SessionId(id), Owner { node: u16::from_be_bytes([bytes[0], bytes[1]]), shard: bytes[2] }))
    }

    fn tag(&self, bytes: &[u8]) -> [u8; 8] {
        let mut mac = self.0;
        mac.write(bytes);
        mac.finish().to_be_bytes()
    }
}

impl fmt::Debug for SidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SidKey(..)")
    }
}

impl SessionId {
    /// The whole id, for the wire.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", &self.as_str()[..4])
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const OWNER: Owner = Owner { node: 513, shard: 7 };

    fn secret(first: u8) -> [u8; 32] {
        std::array::from_fn(|at| first + at as u8)
    }

    #[test]
    fn an_id_names_its_owner() {
        let key = SidKey::new(&secret(1));
        let id = key.mint(OWNER, &mut StdRng::seed_from_u64(1));
        assert_eq!(id.as_str().len(), SESSION_ID_CHARS);
        assert_eq!(key.verify(id.as_str()), Some((id, OWNER)));
    }

    #[test]
    fn no_changed_id_verifies() {
        let key = SidKey::new(&secret(1));
        let id = key.mint(OWNER, &mut StdRng::seed_from_u64(1));
        for at in 0..SESSION_ID_CHARS {
            let mut forged = id.0;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = std::str::from_utf8(&forged).unwrap();
            assert_eq!(key.verify(forged), None, "character {at}");
        }
        assert_eq!(SidKey::new(&secret(2)).verify(id.as_str()), None);
        assert_eq!(key.verify(""), None);
        assert_eq!(key.verify("ääääääääää"), None);
    }

    #[test]
    fn debug_does_not_tell_the_secret() {
        let id = SidKey::new(&secret(1)).mint(OWNER, &mut StdRng::seed_from_u64(1));
        assert!(!format!("{id:?}").contains(id.as_str()));
    }
}
