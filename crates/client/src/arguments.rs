//! The arguments of an event: anything that serde serializes, as JSON text with attachments beside it.

use std::cell::RefCell;
use std::fmt::{self, Display};

use bytes::Bytes;
use serde::ser::{self, Impossible, Serialize, SerializeStruct, Serializer};

use crate::error::Error;

/// Bytes that reach the client as binary (`Buffer`, `ArrayBuffer`), wherever in the arguments they stand.
///
/// They serialize as arguments of an event only; elsewhere serializing them fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

thread_local! {
    // The attachments of the arguments that this thread serializes at the moment. Serializing is one call that
    // does not wait, so that nothing else of the thread comes between; serde offers no other way past a `Serializer`.
    static ATTACHMENTS: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let num = ATTACHMENTS.with_borrow_mut(|attachments| {
            let attachments = attachments.as_mut()?;
            attachments.push(self.0.clone());
            Some(attachments.len() - 1)
        });
        let num = num.ok_or_else(|| ser::Error::custom("Binary is no argument of an event here"))?;
        // What Socket.IO's own encoder puts in the place of a buffer.
        let mut placeholder = serializer.serialize_struct("Placeholder", 2)?;
        placeholder.serialize_field("_placeholder", &true)?;
        placeholder.serialize_field("num", &num)?;
        placeholder.end()
    }
}

/// Arguments in the form of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The text of a JSON array.
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
}

impl Arguments {
    /// A tuple or an array is the list of arguments, `()` none, and anything else the one argument.
    pub(crate) fn of<T: Serialize + ?Sized>(arguments: &T) -> Result<Self, Error> {
        // Before attachments are collected: a `Binary` by itself fails here and so is one argument.
        let shape = arguments.serialize(Probe);
        let collecting = Collecting::begin();
        let text = match shape {
            Err(Shape::None) => "[]".to_owned(),
            Err(Shape::List) => serde_json::to_string(arguments)?,
            Ok(()) | Err(Shape::One) => format!("[{}]", serde_json::to_string(arguments)?),
        };
        Ok(Self { text, attachments: collecting.end() })
    }
}

/// Collects attachments until it is dropped, whatever ends the serializing.
struct Collecting {
    outer: Option<Vec<Bytes>>,
}

impl Collecting {
    fn begin() -> Self {
        Self { outer: ATTACHMENTS.replace(Some(Vec::new())) }
    }

    fn end(self) -> Vec<Bytes> {
        ATTACHMENTS.with_borrow_mut(Option::take).unwrap_or_default()
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        ATTACHMENTS.set(self.outer.take());
    }
}

/// How a value stands for arguments: the answer of [`Probe`], given as an error, since nothing is serialized.
#[derive(Debug)]
enum Shape {
    None,
    One,
    List,
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Shape {}

impl ser::Error for Shape {
    // A value that fails before it has a shape fails again, with its reason, when it is serialized.
    fn custom<T: Display>(_: T) -> Self {
        Self::One
    }
}

/// Looks at the outermost type only.
struct Probe;

type Nothing = Impossible<(), Shape>;

/// Methods of [`Serializer`] for types that are one argument.
macro_rules! one {
    ($($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$answer, Shape> {
            Err(Shape::One)
        })*
    };
}

impl Serializer for Probe {
    type Ok = ();
    type Error = Shape;
    type SerializeSeq = Nothing;
    type SerializeTuple = Nothing;
    type SerializeTupleStruct = Nothing;
    type SerializeTupleVariant = Nothing;
    type SerializeMap = Nothing;
    type SerializeStruct = Nothing;
    type SerializeStructVariant = Nothing;

    one! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_i128(i128) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_u128(u128) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Nothing;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Nothing;
        serialize_map(Option<usize>) -> Nothing;
        serialize_struct(&'static str, usize) -> Nothing;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Nothing;
    }

    fn serialize_unit(self) -> Result<(), Shape> {
        Err(Shape::None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Nothing, Shape> {
        Err(Shape::List)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nothing, Shape> {
        Err(Shape::List)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Shape> {
        Err(Shape::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Shape> {
        Err(Shape::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Shape> {
        Err(Shape::One)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn tuples_and_arrays_are_lists_and_all_else_is_one_argument() {
        let check = |text: Result<Arguments, Error>, expected: &str| assert_eq!(text.unwrap().text, expected);
        check(Arguments::of(&()), "[]");
        check(Arguments::of(&("a", 1, None::<u8>)), r#"["a",1,null]"#);
        check(Arguments::of(&[1, 2]), "[1,2]");
        check(Arguments::of(&[1, 2][..]), "[[1,2]]");
        check(Arguments::of(&vec![1, 2]), "[[1,2]]");
        check(Arguments::of("text"), r#"["text"]"#);
        check(Arguments::of(&json!({"n": 1})), r#"[{"n":1}]"#);
        check(Arguments::of(&json!([1, 2])), "[[1,2]]");
        check(Arguments::of(&None::<u8>), "[null]");
        check(Arguments::of(&&&("a",)), r#"["a"]"#);
    }

    #[test]
    fn binary_becomes_numbered_placeholders() {
        let nested = BTreeMap::from([("file", Binary::from(&b"one"[..]))]);
        let found = Arguments::of(&("x", nested, Binary::from(vec![2]))).unwrap();
        let expected = r#"["x",{"file":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#;
        assert_eq!(found.text, expected);
        assert_eq!(found.attachments, [Bytes::from_static(b"one"), Bytes::from_static(&[2])]);
        let alone = Arguments::of(&Binary::from(&b"x"[..])).unwrap();
        assert_eq!((&*alone.text, alone.attachments.len()), (r#"[{"_placeholder":true,"num":0}]"#, 1));
    }

    #[test]
    fn binary_outside_of_arguments_is_an_error_also_after_a_failure_inside() {
        let binary = Binary::from(&b"x"[..]);
        assert!(serde_json::to_string(&binary).is_err());
        // Keys of JSON are text: this fails after the attachment was collected.
        assert!(Arguments::of(&(&binary, BTreeMap::from([((1, 2), 3)]))).is_err());
        assert!(serde_json::to_string(&binary).is_err());
        assert_eq!(Arguments::of(&("y",)).unwrap().attachments, [] as [Bytes; 0]);
    }
}
