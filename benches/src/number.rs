//! Numbers as people read them.

/// Three digits or two places, and groups of three.
pub(crate) fn plain(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (1.5, "1.5"), (99.994, "99.99"), (999.6, "1,000"), (1_234_567.0, "1,234,567")];
        for (value, expected) in cases {
            assert_eq!(plain(value), expected);
        }
    }
}
