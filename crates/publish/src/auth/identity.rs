//! Who calls, and what it has used of its limits.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use telemetry::PublishRefusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::rate::{Bucket, Excess};
use super::rights::{CALLS_IN_FLIGHT_DEFAULT, Missing, Operation, Rights, RightsConfig};
use crate::error::exhausted;

/// One back end: its name, its rights, and what it has used of its limits.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    rights: Rights,
    bucket: Option<Bucket>,
    in_flight: Arc<Semaphore>,
    in_flight_max: u32,
    /// Its entry is gone or has other rights now: streams that it has opened end.
    retired: AtomicBool,
    /// The start of the bucket's time.
    started: Instant,
}

impl Identity {
    pub(crate) fn new(name: &str, rights: &RightsConfig) -> Self {
        let in_flight_max = rights.calls_in_flight_max.map_or(CALLS_IN_FLIGHT_DEFAULT, |max| max.get());
        Self {
            name: name.to_owned(),
            rights: Rights::new(rights),
            bucket: rights.rate.map(Bucket::new),
            in_flight: Arc::new(Semaphore::new(in_flight_max as usize)),
            in_flight_max,
            retired: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// The identity behind one call, and until when its credentials are good for it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: Arc<Identity>,
    /// The end of the token; `None` for credentials without one.
    pub(crate) expires: Option<SystemTime>,
}

/// A call's place among those that its identity may have open.
pub(crate) type InFlight = OwnedSemaphorePermit;

impl Caller {
    /// Takes a place among the calls that the identity may have open.
    pub(crate) fn begin(&self) -> Result<InFlight, Status> {
        self.identity.in_flight.clone().try_acquire_owned().map_err(|_| {
            self.refuse(PublishRefusal::InFlight);
            let Identity { name, in_flight_max, .. } = &*self.identity;
            let text = format!("identity {name} has {in_flight_max} calls open, as many as it may");
            exhausted(text, None)
        })
    }

    /// Takes `messages` from the rate.
    pub(crate) fn spend(&self, messages: usize) -> Result<(), Status> {
        let Identity { name, bucket, started, .. } = &*self.identity;
        let Some(bucket) = bucket else { return Ok(()) };
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        bucket.take(messages, started.elapsed()).map_err(|excess| {
            self.refuse(PublishRefusal::Rate);
            match excess {
                Excess::Wait(wait) => {
                    exhausted(format!("identity {name} publishes faster than its rate"), Some(wait))
                }
                Excess::Never { burst } => exhausted(
                    format!(
                        "identity {name} may publish {burst} messages at once and this call has {messages}"
                    ),
                    None,
                ),
            }
        })
    }

    /// Whether the credentials that opened a stream are still good.
    pub(crate) fn still_good(&self) -> Result<(), Status> {
        let expired = self.expires.is_some_and(|expires| expires <= SystemTime::now());
        if !expired && !self.identity.retired.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.refuse(PublishRefusal::Unauthenticated);
        Err(Status::unauthenticated("the credentials of this stream are no longer good: open a new one"))
    }

    pub(crate) fn operation(&self, operation: Operation) -> Result<(), Status> {
        self.identity.rights.operation(operation).map_err(|missing| self.denied(missing, operation, ""))
    }

    pub(crate) fn namespace(
        &self,
        operation: Operation,
        namespace: &str,
        field: impl Display,
    ) -> Result<(), Status> {
        let rights = &self.identity.rights;
        rights.namespace(namespace).map_err(|missing| self.denied(missing, operation, &field.to_string()))
    }

    pub(crate) fn all_namespaces(&self, operation: Operation, field: &str) -> Result<(), Status> {
        self.identity.rights.all_namespaces().map_err(|missing| self.denied(missing, operation, field))
    }

    /// `rooms` are the targets of a call; none of them means the whole namespace.
    pub(crate) fn targets(
        &self,
        operation: Operation,
        rooms: &[impl AsRef<str>],
        field: impl Display,
    ) -> Result<(), Status> {
        if rooms.is_empty() {
            return self
                .identity
                .rights
                .all_rooms()
                .map_err(|missing| self.denied(missing, operation, &field.to_string()));
        }
        self.rooms(operation, rooms, field)
    }

    pub(crate) fn rooms(
        &self,
        operation: Operation,
        rooms: &[impl AsRef<str>],
        field: impl Display,
    ) -> Result<(), Status> {
        for (nth, room) in rooms.iter().enumerate() {
            self.identity
                .rights
                .room(room.as_ref())
                .map_err(|missing| self.denied(missing, operation, &format!("{field}[{nth}]")))?;
        }
        Ok(())
    }

    pub(crate) fn rooms_with_prefix(&self, operation: Operation, prefix: &str) -> Result<(), Status> {
        let rights = &self.identity.rights;
        rights.rooms_with_prefix(prefix).map_err(|missing| self.denied(missing, operation, "prefix"))
    }

    /// Names the identity, the right and the field, and never what the field holds.
    fn denied(&self, missing: Missing, operation: Operation, field: &str) -> Status {
        let (name, operation) = (&self.identity.name, operation.as_str());
        let (cause, text) = match missing {
            Missing::Operation => (
                PublishRefusal::Operation,
                format!("identity {name} may not {operation}: its operations do not list it"),
            ),
            Missing::Namespace => (
                PublishRefusal::Namespace,
                format!(
                    "identity {name} may not {operation} here: no pattern of its namespaces fits {field}"
                ),
            ),
            Missing::Room => (
                PublishRefusal::Room,
                format!("identity {name} may not {operation} here: no pattern of its rooms fits {field}"),
            ),
            Missing::AllRooms => (
                PublishRefusal::Room,
                format!(
                    "identity {name} may not {operation} in a whole namespace, which an empty {field} means: \
                     its rooms do not hold *"
                ),
            ),
        };
        self.refuse(cause);
        Status::permission_denied(text)
    }

    fn refuse(&self, cause: PublishRefusal) {
        telemetry::publish_refused(&self.identity.name, cause);
    }
}
