//! The names by which nodes and their requests are told apart.

use rand::RngCore;
use socketio::{URL_SAFE, random_text};

const HEX: &[u8] = b"0123456789abcdef";

socketio::name!(
    /// One namespace of one node, by which it knows its own messages; emitters all use `emitter`.
    Uid
);
socketio::name!(
    /// One request to the other nodes, by which its answers are matched.
    RequestId
);

macro_rules! drawn {
    ($name:ident) => {
        impl $name {
            /// Draws six characters of `A-Za-z0-9-_`, as the classic adapter does.
            pub fn random_classic(rng: &mut impl RngCore) -> Self {
                Self(random_text::<6>(rng, URL_SAFE))
            }

            /// Draws sixteen hexadecimal digits, as the sharded adapter does.
            pub fn random_sharded(rng: &mut impl RngCore) -> Self {
                Self(random_text::<16>(rng, HEX))
            }
        }
    };
}

drawn!(Uid);
drawn!(RequestId);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn drawn_ids_have_the_form_of_their_adapter() {
        let mut rng = StdRng::seed_from_u64(7);
        let (classic, sharded) = (Uid::random_classic(&mut rng), RequestId::random_sharded(&mut rng));
        assert_eq!(classic.as_str().len(), 6);
        assert!(classic.as_str().bytes().all(|byte| URL_SAFE.contains(&byte)));
        assert_eq!(sharded.as_str().len(), 16);
        assert!(sharded.as_str().bytes().all(|byte| HEX.contains(&byte)));
        assert_ne!(classic, Uid::random_classic(&mut rng));
    }
}
