//! What became of a message at one node: something that only Roomcast nodes tell each other.

use crate::error::WireFault;
use crate::id::RequestId;
use crate::json::Object;
use crate::responder::Responder;
use crate::value::Value;

/// How far a message got on one node, in sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeReach {
    /// Those it was for.
    pub matched: u64,
    /// Those whose connection took it, or whose queue holds it.
    pub written: u64,
    /// Not ready for a volatile message.
    pub not_ready: u64,
    /// Those with a full queue.
    pub queue_full: u64,
}

/// What one node says of a message, or of something done with its sockets, to the node that published it.
///
/// It goes to [`report_channel`](crate::report_channel) as JSON:
/// `{"requestId":"…","reach":{"matched":2,"written":2,"notReady":0,"queueFull":0},"node":{"number":7,"name":"…"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// [`Flags::report_id`](crate::Flags::report_id) of the message.
    pub request_id: RequestId,
    /// How far it got.
    pub reach: NodeReach,
    /// Who says so.
    pub from: Responder,
}

impl Report {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.string("requestId", self.request_id.as_str());
        let mut reach = Object::open(object.key("reach"));
        reach.plain("matched", self.reach.matched);
        reach.plain("written", self.reach.written);
        reach.plain("notReady", self.reach.not_ready);
        reach.plain("queueFull", self.reach.queue_full);
        reach.close();
        self.from.push_json(&mut object);
        object.close();
        out
    }

    /// Reads one; counts that are missing are 0.
    ///
    /// # Errors
    /// [`WireFault`]: it is to be skipped.
    pub fn decode(message: &[u8]) -> Result<Self, WireFault> {
        let (mut id, mut from, mut reach) = (None, None, NodeReach::default());
        Value::of_message(message)?.fields("report", |key, value| {
            match key {
                "requestId" => id = value.text().map(RequestId::new),
                "reach" => reach = decode_reach(value)?,
                Responder::KEY => from = Responder::decode(value),
                _ => {}
            }
            Ok(())
        })?;
        let request_id = id.ok_or(WireFault::Missing("requestId"))?;
        Ok(Self { request_id, reach, from: from.ok_or(WireFault::Missing(Responder::KEY))? })
    }
}

fn decode_reach(value: Value<'_>) -> Result<NodeReach, WireFault> {
    let mut reach = NodeReach::default();
    value.fields("reach", |key, value| {
        let count = match key {
            "matched" => &mut reach.matched,
            "written" => &mut reach.written,
            "notReady" => &mut reach.not_ready,
            "queueFull" => &mut reach.queue_full,
            _ => return Ok(()),
        };
        *count = value.unsigned().ok_or(WireFault::WrongType("reach"))?;
        Ok(())
    })?;
    Ok(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_what_was_written_and_lacks_nothing() {
        let reach = NodeReach { matched: 4, written: 1, not_ready: 2, queue_full: 1 };
        let from = Responder { number: 65_535, name: "gateway \"1\"".into() };
        let report = Report { request_id: RequestId::new("q"), reach, from };
        assert_eq!(Report::decode(&report.encode()), Ok(report));
        let fault = |text: &str| Report::decode(text.as_bytes()).err();
        assert_eq!(fault("{}"), Some(WireFault::Missing("requestId")));
        assert_eq!(fault(r#"{"requestId":"q"}"#), Some(WireFault::Missing("node")));
        assert_eq!(
            fault(r#"{"requestId":"q","node":{"number":65536,"name":""}}"#),
            Some(WireFault::Missing("node"))
        );
        assert_eq!(
            fault(r#"{"requestId":"q","reach":{"matched":"x"}}"#),
            Some(WireFault::WrongType("reach"))
        );
    }
}
