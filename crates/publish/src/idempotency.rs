//! Publishes that have a name: a retry gets the first answer, and nothing is delivered twice.
//!
//! ```text
//!           first                      answered
//!  (unknown) ───▶ running ─────────────────────────────▶ settled ──window──▶ (unknown)
//!                  │  ▲ retries wait                        retries get the answer
//!                  └──┴─ nothing was published: forgotten, a retry publishes
//! ```
//!
//! Retries to this process meet here; those to other processes of a cluster meet in what
//! [`Dispatch::claim`] stands for. A publish that has a name is not given up with its caller: whoever retries wants
//! its answer.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tonic::Status;

use crate::dispatch::{Claim, Dispatch};
use crate::error::{FieldFault, Rule, exhausted};
use crate::publishing::Publishing;

/// Longest name of a publish, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// How long a retry waits for the first call to be answered by another process, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(25);

/// A publish by its name and its caller's: what one identity names does not concern another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 32]);

impl IdempotencyKey {
    /// The key of what `identity` calls `name`; `None` for a publish without one.
    ///
    /// # Errors
    /// The name is too long.
    pub(crate) fn new(identity: &str, name: &str) -> Result<Option<Self>, FieldFault> {
        if name.is_empty() {
            return Ok(None);
        }
        if name.len() > KEY_BYTES_MAX {
            let rule = Rule::TooManyBytes { bytes: name.len(), max: KEY_BYTES_MAX };
            return Err(FieldFault::new("idempotency_key", rule));
        }
        let digest = Sha256::new().chain_update(identity).chain_update([0]).chain_update(name);
        Ok(Some(Self(digest.finalize().into())))
    }

    /// 64 hexadecimal digits, which tell nothing of the name.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// The answer to a publish on its way; `None` while there is none.
type Awaited = Option<Result<Bytes, Status>>;

#[derive(Debug)]
enum Entry {
    Running(watch::Receiver<Awaited>),
    Settled(Bytes),
}

/// The named publishes of this process.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    // Guards the map for a look-up; never held across an await.
    memory: Arc<Mutex<Memory>>,
    window: Duration,
    keys_max: usize,
}

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<IdempotencyKey, Entry>,
    /// Settled ones, the oldest first, and until when they are kept.
    settled: VecDeque<(Instant, IdempotencyKey)>,
}

/// What is known of a name.
enum Known {
    /// Nothing: it is running now, and the sender is to say what came of it.
    First(watch::Sender<Awaited>),
    Running(watch::Receiver<Awaited>),
    Settled(Bytes),
    /// As many names as may be are on their way.
    Full,
}

impl Remembered {
    pub(crate) fn new(window: Duration, keys_max: usize) -> Self {
        Self { memory: Arc::default(), window, keys_max }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: IdempotencyKey, now: Instant) -> Known {
        let mut memory = self.memory();
        memory.forget_before(now);
        match memory.entries.get(&key) {
            Some(Entry::Running(answer)) => return Known::Running(answer.clone()),
            Some(Entry::Settled(answer)) => return Known::Settled(answer.clone()),
            None => {}
        }
        if memory.entries.len() >= self.keys_max && !memory.forget_oldest() {
            return Known::Full;
        }
        let (answer, awaited) = watch::channel(None);
        memory.entries.insert(key, Entry::Running(awaited));
        Known::First(answer)
    }

    fn end(&self, key: IdempotencyKey, answer: Option<Bytes>, now: Instant) {
        let mut memory = self.memory();
        match answer {
            Some(answer) => {
                memory.entries.insert(key, Entry::Settled(answer));
                memory.settled.push_back((now + self.window, key));
            }
            None => drop(memory.entries.remove(&key)),
        }
    }
}

impl Memory {
    fn forget_before(&mut self, now: Instant) {
        while let Some((_, key)) = self.settled.pop_front_if(|(until, _)| *until <= now) {
            self.entries.remove(&key);
        }
    }

    fn forget_oldest(&mut self) -> bool {
        self.settled.pop_front().is_some_and(|(_, key)| self.entries.remove(&key).is_some())
    }
}

impl<D: Dispatch> Publishing<D> {
    /// Publishes under a name, unless the same caller has published under the same name before: then answers as then.
    pub(crate) async fn once<A, F>(&self, key: IdempotencyKey, publish: F) -> Result<A, Status>
    where
        A: Message + Default + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let mut awaited = match self.remembered.begin(key, Instant::now()) {
            Known::Settled(answer) => return decode(&answer),
            Known::Running(awaited) => awaited,
            Known::Full => {
                let text = "as many publishes with an idempotency key as may be are on their way \
                            (limits.idempotency_keys_max)";
                return Err(exhausted(text.to_owned(), Some(PAUSE)));
            }
            Known::First(answer) => {
                let awaited = answer.subscribe();
                tokio::spawn(self.clone().run_once(key, answer, publish));
                awaited
            }
        };
        let settled = awaited.wait_for(Option::is_some).await.map(|answer| answer.clone());
        match settled {
            Ok(Some(answer)) => decode(&answer?),
            _ => Err(Status::unavailable("the publish was given up: retry")),
        }
    }

    async fn run_once<A, F>(self, key: IdempotencyKey, answer: watch::Sender<Awaited>, publish: F)
    where
        A: Message + Default + 'static,
        F: Future<Output = Result<A, Status>> + Send,
    {
        let window = self.remembered.window;
        let outcome = match self.claimed(key).await {
            Err(status) => Err(status),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                let outcome = publish.await.map(|answer| Bytes::from(answer.encode_to_vec()));
                self.dispatch.settle(key, outcome.as_ref().ok().cloned(), window).await;
                outcome
            }
        };
        self.remembered.end(key, outcome.as_ref().ok().cloned(), Instant::now());
        answer.send_replace(Some(outcome));
    }

    /// The answer that another process has given, or will give soon; `None` if it is ours to publish.
    async fn claimed(&self, key: IdempotencyKey) -> Result<Option<Bytes>, Status> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.dispatch.claim(key).await? {
                Claim::First => return Ok(None),
                Claim::Settled(answer) => return Ok(Some(answer)),
                Claim::Running if Instant::now() >= until => {
                    let text = "another call with this idempotency key has no answer yet: retry";
                    return Err(Status::unavailable(text));
                }
                Claim::Running => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// An answer that was kept.
fn decode<A: Message + Default>(answer: &Bytes) -> Result<A, Status> {
    A::decode(answer.clone()).map_err(|_| {
        Status::invalid_argument("idempotency_key: names a call of another kind: use a key for one call")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> IdempotencyKey {
        IdempotencyKey::new("orders", name).unwrap().unwrap()
    }

    #[test]
    fn names_of_different_callers_are_different() {
        assert_ne!(key("a"), IdempotencyKey::new("billing", "a").unwrap().unwrap());
        assert_ne!(
            IdempotencyKey::new("ab", "c").unwrap().unwrap(),
            IdempotencyKey::new("a", "bc").unwrap().unwrap()
        );
        assert!(IdempotencyKey::new("orders", "").unwrap().is_none());
        assert!(IdempotencyKey::new("orders", &"k".repeat(128)).is_ok());
        assert!(IdempotencyKey::new("orders", &"k".repeat(129)).is_err());
    }

    #[test]
    fn a_settled_name_is_kept_for_its_window_and_no_longer() {
        let remembered = Remembered::new(Duration::from_secs(60), 10);
        let start = Instant::now();
        assert!(matches!(remembered.begin(key("a"), start), Known::First(_)));
        assert!(matches!(remembered.begin(key("a"), start), Known::Running(_)));
        remembered.end(key("a"), Some(Bytes::from_static(b"x")), start);
        assert!(matches!(remembered.begin(key("a"), start + Duration::from_secs(59)), Known::Settled(_)));
        assert!(matches!(remembered.begin(key("a"), start + Duration::from_secs(60)), Known::First(_)));
    }

    #[test]
    fn a_publish_that_failed_is_forgotten_at_once() {
        let remembered = Remembered::new(Duration::from_secs(60), 10);
        let now = Instant::now();
        assert!(matches!(remembered.begin(key("a"), now), Known::First(_)));
        remembered.end(key("a"), None, now);
        assert!(matches!(remembered.begin(key("a"), now), Known::First(_)));
    }

    #[test]
    fn the_oldest_settled_name_makes_room_and_running_ones_do_not() {
        let remembered = Remembered::new(Duration::from_secs(60), 2);
        let now = Instant::now();
        for name in ["a", "b"] {
            assert!(matches!(remembered.begin(key(name), now), Known::First(_)));
        }
        assert!(matches!(remembered.begin(key("c"), now), Known::Full));
        remembered.end(key("a"), Some(Bytes::new()), now);
        assert!(matches!(remembered.begin(key("c"), now), Known::First(_)));
        assert!(matches!(remembered.begin(key("b"), now), Known::Running(_)));
    }
}
