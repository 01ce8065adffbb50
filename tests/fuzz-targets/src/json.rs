//! The scanner of JSON text, held against serde_json, which decides what JSON is.

use serde_json::value::RawValue;
use socketio::{DecodeLimits, decode, event_name, first_argument, string_field, unescape};

use crate::program::text;

/// serde_json reads no deeper than 127 levels.
const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 10, depth_max: 126 };

/// One JSON text.
pub(crate) fn json(bytes: &[u8]) {
    let text = text(bytes);
    let _ = (event_name(&text), first_argument(&text), string_field(&text, "token"), unescape(&text));
    let packet = format!("3[{text}]");
    let array = packet.get(1..).unwrap_or_default();
    // `RawValue` skips over values, so that lone surrogates and large numbers are no fault, as here.
    let reference = serde_json::from_str::<&RawValue>(array).is_ok();
    match decode(&packet, &LIMITS) {
        Ok(_) => assert!(reference, "taken for JSON"),
        Err(fault) => assert!(!reference || is_too_deep(array), "not taken for JSON: {fault}"),
    }
    agrees_on_names(array);
}

/// Whether more brackets are open at once than allowed. Those in strings count too: it is not exact, but on the safe
/// side.
fn is_too_deep(array: &str) -> bool {
    array.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > LIMITS.depth_max
}

/// What is read without a tree is what is in serde_json's tree, wherever it builds one.
fn agrees_on_names(array: &str) {
    let Ok(tree) = serde_json::from_str::<serde_json::Value>(array) else { return };
    let first = tree.get(0);
    if let Some(name) = first.and_then(|value| value.as_str()) {
        assert_eq!(event_name(array).as_deref(), Some(name));
    }
    assert_eq!(first_argument(array).as_deref(), tree.get(1).and_then(|value| value.as_str()));
    if let Some(object) = first.filter(|value| value.is_object()) {
        let token = object.get("token").and_then(|value| value.as_str());
        let text = object_text(array);
        assert_eq!(string_field(text, "token").as_deref(), token);
    }
}

/// The text of the first element, as serde_json finds it.
fn object_text(array: &str) -> &str {
    let elements: Vec<&RawValue> = serde_json::from_str(array).expect("it was read before");
    elements.first().map_or("", |element| element.get())
}
