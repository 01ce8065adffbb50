//! The JSON form of messages: the canonical mapping of proto3, read strictly.
//!
//! Reading is done here and not by `prost-reflect`, which knows the descriptors and writes the answers: a key that is
//! given twice is refused instead of the last one going before, a fault says where it is and never what was sent, and
//! `args` is taken for `arguments`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, SerializeOptions, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tonic::Status;

use super::scalar;
use crate::error::{FieldFault, Rule};

/// What `args` stands for: real JSON in the place of its text.
const ARGUMENTS: &str = "arguments";
pub(crate) const ARGS: &str = "args";

/// Longest key of a caller that an error repeats, in characters.
const KEY_CHARS_TOLD: usize = 64;

/// Reads one message; absent fields and `null` are defaults.
///
/// # Errors
/// `INVALID_ARGUMENT` with the way to the field and the rule it breaks, or the place where it stops being JSON.
pub(crate) fn decode<T: Message + Default>(descriptor: MessageDescriptor, body: &[u8]) -> Result<T, Status> {
    let text = str::from_utf8(body).map_err(|error| {
        Status::invalid_argument(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let walk = Walk::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = MessageSeed { descriptor, walk: &walk }.deserialize(&mut json);
    let message =
        read.and_then(|message| json.end().map(|()| message)).map_err(|error| walk.status(&error))?;
    T::decode(message.encode_to_vec().as_slice())
        .map_err(|_| Status::internal("a message could not be read as its own type"))
}

/// Writes one message: names in lowerCamelCase, 64-bit numbers as text, defaults written out.
pub(crate) fn encode(descriptor: MessageDescriptor, message: &impl Message) -> Result<String, Status> {
    let unlike = || Status::internal("a message could not be written as JSON");
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(|_| unlike())?;
    let mut text = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
        .map_err(|_| unlike())?;
    String::from_utf8(text).map_err(|_| unlike())
}

/// Where reading is, and what is wrong there.
#[derive(Default)]
struct Walk {
    /// Names and indices from the request inwards.
    path: RefCell<Vec<String>>,
    fault: Cell<Option<&'static str>>,
    expected: Cell<&'static str>,
}

impl Walk {
    fn refuse<E: serde::de::Error>(&self, fault: &'static str) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    /// Reads something below `name`. The path stays where it is when that fails.
    fn below<T, E>(&self, name: String, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(name);
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }

    /// The text of a parser's error is left out: it may quote what was sent.
    fn status(&self, error: &serde_json::Error) -> Status {
        let fault = match self.fault.get() {
            Some(fault) => fault,
            None if error.is_data() => self.expected.get(),
            None => {
                let (line, column) = (error.line(), error.column());
                return Status::invalid_argument(format!(
                    "the body is not JSON at line {line}, column {column}"
                ));
            }
        };
        let mut path = String::new();
        for part in &*self.path.borrow() {
            let is_index = part.starts_with('[');
            path.push_str(if is_index || path.is_empty() { "" } else { "." });
            path.push_str(part);
        }
        if path.is_empty() {
            return Status::invalid_argument(format!("the body {fault}"));
        }
        FieldFault::new(path, Rule::Json(fault)).into()
    }
}

struct MessageSeed<'a> {
    descriptor: MessageDescriptor,
    walk: &'a Walk,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DynamicMessage, D::Error> {
        self.walk.expected.set("must be a JSON object");
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = DynamicMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DynamicMessage, A::Error> {
        let mut message = DynamicMessage::new(self.descriptor.clone());
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let named = self.named(&key);
            let told = match &named {
                Some((field, Form::Own)) => field.name().to_owned(),
                _ => key.chars().take(KEY_CHARS_TOLD).collect(),
            };
            self.walk.below(told, || {
                let (field, form) =
                    named.ok_or_else(|| self.walk.refuse("is not a field of this request"))?;
                if !seen.insert(field.number()) {
                    return Err(self.walk.refuse("is given twice"));
                }
                let value = match form {
                    Form::Args => args(map.next_value::<Option<&RawValue>>()?, self.walk)?,
                    Form::Own => map.next_value_seed(FieldSeed { field: &field, walk: self.walk })?,
                };
                let Some(value) = value else { return Ok(()) };
                let oneof = field.containing_oneof();
                let mut members = oneof.iter().flat_map(|oneof| oneof.fields());
                if members.any(|member| member != field && message.has_field(&member)) {
                    return Err(self.walk.refuse("stands beside another field that it excludes"));
                }
                message.set_field(&field, value);
                Ok(())
            })?;
        }
        Ok(message)
    }
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    /// As the mapping has it.
    Own,
    /// As real JSON in the place of its text.
    Args,
}

impl MessageSeed<'_> {
    fn named(&self, key: &str) -> Option<(FieldDescriptor, Form)> {
        let descriptor = &self.descriptor;
        let own = descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key));
        match own {
            Some(field) => Some((field, Form::Own)),
            None if key == ARGS => descriptor.get_field_by_name(ARGUMENTS).map(|field| (field, Form::Args)),
            None => None,
        }
    }
}

/// The text of `args`, byte for byte.
fn args<E: serde::de::Error>(raw: Option<&RawValue>, walk: &Walk) -> Result<Option<Value>, E> {
    match raw.map(RawValue::get) {
        None => Ok(None),
        Some(text) if text.starts_with('[') => Ok(Some(Value::String(text.to_owned()))),
        Some(_) => Err(walk.refuse("must be a JSON array")),
    }
}

/// The value of a field: `None` for `null`.
struct FieldSeed<'a> {
    field: &'a FieldDescriptor,
    walk: &'a Walk,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.field.is_list() {
            self.walk.expected.set("must be a JSON array");
            return deserializer.deserialize_seq(self).map(Some).map(Option::flatten);
        }
        ValueSeed { field: self.field, walk: self.walk }.deserialize(deserializer).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        let mut values = Vec::new();
        loop {
            let seed = ValueSeed { field: self.field, walk: self.walk };
            let item = self.walk.below(format!("[{}]", values.len()), || items.next_element_seed(seed))?;
            match item {
                Some(value) => values.push(value),
                None => return Ok(Some(Value::List(values))),
            }
        }
    }
}

/// One value, not `null`: of the field, or of its list.
struct ValueSeed<'a> {
    field: &'a FieldDescriptor,
    walk: &'a Walk,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Self { field, walk } = self;
        let kind = field.kind();
        if let Some(descriptor) = kind.as_message() {
            let seed = MessageSeed { descriptor: descriptor.clone(), walk };
            return seed.deserialize(deserializer).map(Value::Message);
        }
        let expected = scalar::expected(&kind);
        walk.expected.set(expected);
        let scalar = deserializer.deserialize_any(scalar::ScalarVisitor)?;
        scalar::value(&kind, scalar).ok_or_else(|| walk.refuse(expected))
    }
}

#[cfg(test)]
mod tests;
