//! Captured answers of the reference server, and what of them can be compared.

use std::path::Path;

use serde_json::Value;

/// One file of vectors.
pub(crate) struct Vectors(Value);

impl Vectors {
    /// Reads a file of `tests/vectors`.
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(serde_json::from_str(&text).unwrap())
    }

    /// The entries of one of its lists.
    pub(crate) fn list(&self, key: &str) -> &[Value] {
        self.0[key].as_array().unwrap()
    }

    /// The case of this name.
    pub(crate) fn case(&self, name: &str) -> &Value {
        let found = self.list("cases").iter().find(|case| case["name"] == name);
        found.unwrap_or_else(|| panic!("no case is named {name}"))
    }
}

/// The text of a field that a vector must have.
pub(crate) fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}"))
}

/// `text` with the value of every `"sid"` and `"pid"` as its length, so that ids compare by their shape.
///
/// Both layers of quoting that occur are known: JSON, and JSON in a JavaScript string (JSONP).
pub(crate) fn shape(text: &str) -> String {
    let mut out = text.to_owned();
    for (open, close) in [("\"sid\":\"", "\""), ("\\\"sid\\\":\\\"", "\\\""), ("\"pid\":\"", "\"")] {
        let mut shaped = String::new();
        let mut rest = out.as_str();
        while let Some((before, after)) = rest.split_once(open) {
            let (id, after) = after.split_once(close).unwrap_or((after, ""));
            shaped.push_str(&format!("{before}{open}<{} characters>{close}", id.len()));
            rest = after;
        }
        shaped.push_str(rest);
        out = shaped;
    }
    out
}
