//! Offences in the operator's words: what is wrong, and what is allowed.

use super::check;
use super::decode::Offence;

/// What is wrong with the value at `key`.
pub(super) fn explain(key: &str, offence: &Offence) -> String {
    match offence {
        Offence::UnknownKey { allowed } => unknown("key", key.rsplit('.').next().unwrap_or(key), allowed),
        Offence::MissingKey(name) => format!("{name} is missing"),
        Offence::UnknownWord { allowed } => format!("unknown word; allowed: {}", allowed.join(", ")),
        Offence::Mismatch { expected } => format!("allowed: {}", allowed_at(key, expected)),
        Offence::Other(text) => text.clone(),
    }
}

fn unknown(kind: &str, word: &str, allowed: &[&str]) -> String {
    let hint = nearest(word, allowed).map(|best| format!(", did you mean {best}?")).unwrap_or_default();
    let separator = if hint.is_empty() { "; " } else { " " };
    format!("unknown {kind}{hint}{separator}allowed: {}", allowed.join(", "))
}

/// serde's name of a type, such as `u16`, as what an operator may write.
fn allowed_at(key: &str, expected: &str) -> String {
    let integer = |min: u64, max: u64| format!("an integer from {min} to {max}");
    if let Some((min, max)) = check::range_of(key) {
        return integer(min, max);
    }
    match expected {
        "u8" => integer(0, u8::MAX.into()),
        "u16" => integer(0, u16::MAX.into()),
        "u32" => integer(0, u32::MAX.into()),
        "u64" => integer(0, u64::MAX),
        "a nonzero u8" => integer(1, u8::MAX.into()),
        "a nonzero u32" => integer(1, u32::MAX.into()),
        "a boolean" => "true or false".into(),
        "a string" => "text".into(),
        "path string" => "a path".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("struct ") => "a table of keys".into(),
        other => other.into(),
    }
}

/// The one of `allowed` that `word` is most likely a slip of, if any is close.
fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let (distance, best) = allowed.iter().map(|other| (edits(word, other), *other)).min()?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// Edit distance (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        row[0] = left;
        for (to, above) in b.iter().zip(&mut row[1..]) {
            left = (diagonal + usize::from(from != *to)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, left);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let cases = [
            ("listn", Some("listen")),
            ("ping_intervall_ms", Some("ping_interval_ms")),
            ("insecur", Some("insecure")),
            ("colour", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &["listen", "ping_interval_ms", "insecure"]), expected, "{word}");
        }
    }
}
