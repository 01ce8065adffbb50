//! Numbers, texts and words of JSON as values of proto3.
//!
//! Source: Protocol Buffers, JSON mapping of proto3.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{Kind, Value};
use serde::de::Visitor;

/// The largest integer below which every integer is a float of its own, 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What JSON has written.
pub(crate) enum Scalar {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
}

/// Takes anything but objects, arrays and `null`.
pub(crate) struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, text, true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(value))
    }
}

/// `scalar` as a value of the kind; `None` if it is none.
pub(crate) fn value(kind: &Kind, scalar: Scalar) -> Option<Value> {
    match (kind, scalar) {
        (Kind::Bool, Scalar::Bool(value)) => Some(Value::Bool(value)),
        (Kind::String, Scalar::Text(text)) => Some(Value::String(text)),
        (Kind::Bytes, Scalar::Text(text)) => from_base64(&text).map(|bytes| Value::Bytes(bytes.into())),
        (Kind::Enum(words), Scalar::Text(word)) => {
            words.get_value_by_name(&word).map(|value| Value::EnumNumber(value.number()))
        }
        // A number that is none of its values is refused behind this, with its field.
        (Kind::Enum(_), scalar) => integer(scalar)?.try_into().ok().map(Value::EnumNumber),
        (Kind::Uint32, scalar) => integer(scalar)?.try_into().ok().map(Value::U32),
        (Kind::Uint64, scalar) => integer(scalar)?.try_into().ok().map(Value::U64),
        (Kind::Int32, scalar) => integer(scalar)?.try_into().ok().map(Value::I32),
        (Kind::Int64, scalar) => integer(scalar)?.try_into().ok().map(Value::I64),
        (Kind::Double, scalar) => float(scalar).map(Value::F64),
        _ => None,
    }
}

/// What a value of the kind must be, to follow the name of its field.
pub(crate) fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "must be true or false",
        Kind::String => "must be text",
        Kind::Bytes => "must be text in base64",
        Kind::Enum(_) => "must be one of the words of its type",
        Kind::Uint32 => "must be an integer from 0 to 4294967295",
        Kind::Uint64 => "must be an integer from 0 to 18446744073709551615",
        Kind::Double => "must be a number",
        Kind::Int32 | Kind::Int64 => "must be an integer",
        _ => "is of a type that this version cannot read",
    }
}

fn integer(scalar: Scalar) -> Option<i128> {
    match scalar {
        Scalar::Integer(value) => Some(value),
        // 1e3 and 1.0 are integers.
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT_MAX => Some(value as i128),
        Scalar::Text(text) if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

fn float(scalar: Scalar) -> Option<f64> {
    match scalar {
        Scalar::Float(value) => Some(value),
        Scalar::Integer(value) => Some(value as f64),
        Scalar::Text(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            number => number.parse().ok().filter(|value: &f64| value.is_finite()),
        },
        Scalar::Bool(_) => None,
    }
}

/// Either alphabet, with or without padding, as the mapping asks for.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}
