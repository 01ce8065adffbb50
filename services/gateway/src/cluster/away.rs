//! Why Redis is away, for the log: told when it begins, and again while it lasts.

use std::time::{Duration, Instant};

use telemetry::{RedisAway, RedisConnection};

/// The first line often says no more than that Redis closed the connection, and the next, which says why it does not
/// let us in again, may come within the second in which the log takes no other of its kind.
const SOON: Duration = Duration::from_secs(2);
/// Pause between two lines after that.
const LATER: Duration = Duration::from_secs(30);

/// What is wrong with each connection.
#[derive(Debug, Default)]
pub(super) struct Away {
    publisher: Option<String>,
    subscriber: Option<String>,
    again_at: Option<Instant>,
}

impl Away {
    /// A connection is away, or still is for another reason; gives the line for it.
    pub(super) fn down(&mut self, connection: RedisConnection, error: String, now: Instant) -> RedisAway {
        *self.fault(connection) = Some(error.clone());
        self.again_at = Some(now + SOON);
        RedisAway { connection, error }
    }

    /// A connection is back.
    pub(super) fn up(&mut self, connection: RedisConnection) {
        *self.fault(connection) = None;
    }

    /// The line that is due while a connection is away, with what was last told of it.
    pub(super) fn again(&mut self, now: Instant) -> Option<RedisAway> {
        self.again_at.filter(|at| *at <= now)?;
        let publisher = self.publisher.clone().map(|error| (RedisConnection::Publisher, error));
        let subscriber = self.subscriber.clone().map(|error| (RedisConnection::Subscriber, error));
        let line = publisher.or(subscriber).map(|(connection, error)| RedisAway { connection, error });
        self.again_at = line.as_ref().map(|_| now + LATER);
        line
    }

    fn fault(&mut self, connection: RedisConnection) -> &mut Option<String> {
        match connection {
            RedisConnection::Publisher => &mut self.publisher,
            RedisConnection::Subscriber => &mut self.subscriber,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cause_is_told_again_until_the_connection_is_back() {
        use RedisConnection::{Publisher, Subscriber};
        let start = Instant::now();
        let mut away = Away::default();
        assert!(away.again(start).is_none());
        away.down(Publisher, "closed".into(), start);
        away.down(Subscriber, "closed".into(), start);
        away.down(Publisher, "wrong password".into(), start);
        let told = |away: &mut Away, after: Duration| {
            away.again(start + after).map(|RedisAway { connection, error }| (connection, error))
        };
        assert_eq!(told(&mut away, SOON / 2), None);
        assert_eq!(told(&mut away, SOON), Some((Publisher, "wrong password".into())));
        assert_eq!(told(&mut away, SOON * 2), None);
        assert_eq!(told(&mut away, SOON + LATER), Some((Publisher, "wrong password".into())));
        away.up(Publisher);
        assert_eq!(told(&mut away, SOON + 2 * LATER), Some((Subscriber, "closed".into())));
        away.up(Subscriber);
        assert_eq!(told(&mut away, SOON + 3 * LATER), None);
    }
}
