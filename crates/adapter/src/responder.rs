//! The Roomcast node that gives an answer.

use std::sync::Arc;

use crate::json::Object;
use crate::msgpack;
use crate::value::Value;

/// By which a Roomcast node says that an answer is its own: one more key, `"node":{"number":7,"name":"…"}`, behind
/// those of Node's adapters, which take no notice of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responder {
    /// Its number, unique in the cluster.
    pub number: u16,
    /// Its name for operators.
    pub name: Arc<str>,
}

impl Responder {
    pub(crate) const KEY: &'static str = "node";

    /// Appends key and value to an object.
    pub(crate) fn push_json(&self, object: &mut Object<'_>) {
        let mut node = Object::open(object.key(Self::KEY));
        node.plain("number", self.number);
        node.string("name", &self.name);
        node.close();
    }

    /// Appends key and value to a map.
    pub(crate) fn push_msgpack(&self, out: &mut Vec<u8>) {
        msgpack::str(out, Self::KEY);
        msgpack::map(out, 2);
        msgpack::str(out, "number");
        msgpack::unsigned(out, self.number.into());
        msgpack::str(out, "name");
        msgpack::str(out, &self.name);
    }

    /// Reads the value; `None` if it is something else that others call so.
    pub(crate) fn decode(value: Value<'_>) -> Option<Self> {
        let (mut number, mut name) = (None, None);
        let fields = value.fields(Self::KEY, |key, value| {
            match key {
                "number" => number = value.unsigned().and_then(|number| u16::try_from(number).ok()),
                "name" => name = value.text(),
                _ => {}
            }
            Ok(())
        });
        fields.ok()?;
        Some(Self { number: number?, name: (*name?).into() })
    }
}
