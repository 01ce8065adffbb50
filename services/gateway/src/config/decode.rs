//! A merged value tree as a serde deserializer that knows the key it is at.
//!
//! The crate that merges the layers has one too, but its errors stop at text. This one keeps what went wrong as a
//! value, with key and origin, lets the text of variables and flags be numbers and lists where the type wants
//! them, and steps over the keys that were already found faulty, so that decoding again finds the next fault.

use std::collections::HashSet;
use std::fmt;

use ::config::{Value, ValueKind};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor, value::StrDeserializer};

use super::fault::shown;

/// Why a tree does not fit its type.
#[derive(Clone, Debug)]
pub(super) struct DecodeError {
    /// Where; `None` until the error has left the value that caused it.
    pub(super) place: Option<Place>,
    /// What is wrong there.
    pub(super) offence: Offence,
}

/// The value at fault.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its key from the root.
    pub(super) key: String,
    /// What it is, fit to be printed.
    pub(super) shown: String,
}

/// What is wrong with a value.
#[derive(Clone, Debug)]
pub(super) enum Offence {
    /// No such key in this table.
    UnknownKey { allowed: &'static [&'static str] },
    /// The table lacks this key.
    MissingKey(&'static str),
    /// A word that is none of these.
    UnknownWord { allowed: &'static [&'static str] },
    /// Another type or range; what was expected, in serde's words.
    Mismatch { expected: String },
    /// In words.
    Other(String),
}

/// One value of the tree, its key, and the keys to step over.
pub(super) struct Decoder<'a> {
    value: Value,
    key: String,
    skipped: &'a HashSet<String>,
}

impl<'a> Decoder<'a> {
    /// The root of a tree; whatever stands at a key of `skipped` counts as absent.
    pub(super) fn new(root: Value, skipped: &'a HashSet<String>) -> Self {
        Self { value: root, key: String::new(), skipped }
    }

    /// The text of a variable or flag. Only those layers state an origin (see `load`); a file's text is text.
    fn spoken(&self) -> Option<&str> {
        match &self.value.kind {
            ValueKind::String(text) if self.value.origin().is_some() => Some(text.trim()),
            _ => None,
        }
    }

    fn place(&self) -> Place {
        Place { key: self.key.clone(), shown: shown(&self.key, &self.value) }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value.kind {
            ValueKind::String(text) => Unexpected::Str(text),
            ValueKind::Table(_) => Unexpected::Map,
            ValueKind::Array(_) => Unexpected::Seq,
            _ => Unexpected::Other("another type"),
        }
    }

    /// Deserializes a child, and says where if that fails.
    fn descend<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, DecodeError> {
        let place = self.place();
        seed.deserialize(self).map_err(|mut error| {
            error.place.get_or_insert(place);
            error
        })
    }

    fn entries(&self, table: ::config::Map<String, Value>) -> Entries<'a> {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(name, value)| {
                let key = if self.key.is_empty() { name.clone() } else { format!("{}.{name}", self.key) };
                (name, Self { value, key, skipped: self.skipped })
            })
            .filter(|(_, child)| !self.skipped.contains(&child.key))
            .collect();
        // The table is a hash map, and faults should come in the same order every time.
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        Entries { rest: entries, current: None }
    }

    fn items(&self, values: impl IntoIterator<Item = Value>) -> Items<'a> {
        let mut items: Vec<_> = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| Self {
                value,
                key: format!("{}[{index}]", self.key),
                skipped: self.skipped,
            })
            .filter(|item| !self.skipped.contains(&item.key))
            .collect();
        items.reverse();
        Items { rest: items }
    }
}

macro_rules! from_text {
    ($($method:ident($number:ty) => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.spoken().map(str::parse::<$number>) {
                Some(Ok(value)) => visitor.$visit(value),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(value),
            ValueKind::I64(value) => visitor.visit_i64(value),
            ValueKind::I128(value) => visitor.visit_i128(value),
            ValueKind::U64(value) => visitor.visit_u64(value),
            ValueKind::U128(value) => visitor.visit_u128(value),
            ValueKind::Float(value) => visitor.visit_f64(value),
            ValueKind::String(value) => visitor.visit_string(value),
            ValueKind::Table(ref table) => visitor.visit_map(self.entries(table.clone())),
            ValueKind::Array(ref values) => visitor.visit_seq(self.items(values.clone())),
        }
    }

    from_text! {
        deserialize_bool(bool) => visit_bool,
        deserialize_i8(i64) => visit_i64,
        deserialize_i16(i64) => visit_i64,
        deserialize_i32(i64) => visit_i64,
        deserialize_i64(i64) => visit_i64,
        deserialize_u8(i64) => visit_i64,
        deserialize_u16(i64) => visit_i64,
        deserialize_u32(i64) => visit_i64,
        deserialize_u64(u64) => visit_u64,
        deserialize_f32(f64) => visit_f64,
        deserialize_f64(f64) => visit_f64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        // An empty variable is how an environment takes back what a file sets.
        if matches!(self.value.kind, ValueKind::Nil) || self.spoken() == Some("") {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let origin = self.value.origin().map(String::from);
        match self.spoken() {
            Some("") => visitor.visit_seq(self.items([])),
            Some(text) if text.starts_with('[') => Err(DecodeError::other("not valid JSON")),
            Some(text) => {
                let items = text.split(',').map(|item| Value::new(origin.as_ref(), item.trim()));
                visitor.visit_seq(self.items(items))
            }
            None if matches!(self.value.kind, ValueKind::Nil) => visitor.visit_seq(self.items([])),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        // `section:` with nothing below it is how YAML writes an empty section.
        match self.value.kind {
            ValueKind::Nil => visitor.visit_map(self.entries(::config::Map::new())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let variant = match &self.value.kind {
            ValueKind::String(word) => Some((word.trim().to_owned(), None)),
            ValueKind::Table(table) if table.len() == 1 => {
                self.entries(table.clone()).rest.pop().map(|(word, value)| (word, Some(value)))
            }
            _ => None,
        };
        let Some((word, value)) = variant else {
            let expected = format!("one of {}", variants.join(", "));
            return Err(de::Error::invalid_type(self.unexpected(), &expected.as_str()));
        };
        visitor.visit_enum(Choice { word, value })
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The live entries of a table, last first.
struct Entries<'a> {
    rest: Vec<(String, Decoder<'a>)>,
    current: Option<Decoder<'a>>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, value)) = self.rest.pop() else { return Ok(None) };
        let place = value.place();
        self.current = Some(value);
        let name: StrDeserializer<'_, DecodeError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| DecodeError { place: Some(place), ..error })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        match self.current.take() {
            Some(value) => value.descend(seed),
            None => Err(DecodeError::other("a value was asked for before its key")),
        }
    }
}

/// The live items of a list, last first.
struct Items<'a> {
    rest: Vec<Decoder<'a>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        self.rest.pop().map(|item| item.descend(seed)).transpose()
    }
}

/// `word`, or `{ word = value }`.
struct Choice<'a> {
    word: String,
    value: Option<Decoder<'a>>,
}

impl<'de> de::EnumAccess<'de> for Choice<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let word: StrDeserializer<'_, DecodeError> = self.word.as_str().into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(DecodeError::other(format!("{0} takes no value: write \"{0}\"", self.word))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        match self.value {
            Some(value) => value.descend(seed),
            None => Err(DecodeError::other(format!("{0} needs a value: write {{ {0} = … }}", self.word))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::other("no configuration type has tuple variants"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value {
            Some(value) => de::Deserializer::deserialize_map(value, visitor),
            None => {
                Err(DecodeError::other(format!("{0} needs a table: write {{ {0} = {{ … }} }}", self.word)))
            }
        }
    }
}

impl DecodeError {
    fn other(text: impl Into<String>) -> Self {
        Self { place: None, offence: Offence::Other(text.into()) }
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::other(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self { place: None, offence: Offence::Mismatch { expected: expected.to_string() } }
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self { place: None, offence: Offence::Mismatch { expected: expected.to_string() } }
    }

    fn unknown_variant(_: &str, allowed: &'static [&'static str]) -> Self {
        Self { place: None, offence: Offence::UnknownWord { allowed } }
    }

    fn unknown_field(_: &str, allowed: &'static [&'static str]) -> Self {
        Self { place: None, offence: Offence::UnknownKey { allowed } }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { place: None, offence: Offence::MissingKey(name) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.offence)
    }
}

impl std::error::Error for DecodeError {}
