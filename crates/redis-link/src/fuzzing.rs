//! A door for the fuzz targets: what stands at the beginning of bytes from Redis. Nothing else comes in here.

use crate::resp;

/// The frame at the beginning of `bytes`, as text, and its length; `None` while it is not complete.
///
/// # Errors
/// Why it is none.
pub fn frame(bytes: &[u8]) -> Result<Option<(String, usize)>, String> {
    let parsed = resp::parse(bytes).map_err(|fault| fault.to_string())?;
    Ok(parsed.map(|(frame, length)| (format!("{frame:?}"), length)))
}
