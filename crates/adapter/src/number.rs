//! Numbers as JavaScript prints them, which is how clients of a Node server see them.

use std::io::Write as _;

/// Integers up to here in magnitude are exact in a `f64`, and cheap to print as such.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends `value` as `JSON.stringify` does: the shortest digits that read back as the same number, no
/// fraction on whole numbers, exponents from 1e21 up and below 1e-6, `null` for NaN and the infinities.
///
/// Source: ECMAScript, Number::toString.
pub(crate) fn push_number(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
    } else if value.fract() == 0.0 && value.abs() < EXACT_MAX {
        // The cast is exact in this range, and takes the sign off a zero, as JavaScript does.
        push_integer(out, value as i64);
    } else {
        push_decimal(out, value);
    }
}

/// Appends any integer in decimal digits.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to memory does not fail");
}

fn push_decimal(out: &mut Vec<u8>, value: f64) {
    // Shortest digits with one before the point: `1.25e-7`.
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Digits before the point, if it stood in the plain notation.
    let whole = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);

    if value < 0.0 {
        out.push(b'-');
    }
    let text = match whole {
        _ if whole >= count && whole <= 21 => digits + &zeros(whole - count),
        1..=21 => insert_point(&digits, whole),
        -5..=0 => format!("0.{}{digits}", zeros(-whole)),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            let mantissa = if count == 1 { digits } else { insert_point(&digits, 1) };
            format!("{mantissa}e{sign}{}", exponent.unsigned_abs())
        }
    };
    out.extend_from_slice(text.as_bytes());
}

fn insert_point(digits: &str, at: i32) -> String {
    let (whole, fraction) =
        usize::try_from(at).ok().and_then(|at| digits.split_at_checked(at)).unwrap_or((digits, "0"));
    format!("{whole}.{fraction}")
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_javascript() {
        let check = |value: f64, expected: &str| {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(std::str::from_utf8(&out), Ok(expected));
        };
        check(1.0, "1");
        check(-0.0, "0");
        check(-1.5, "-1.5");
        check(0.1 + 0.2, "0.30000000000000004");
        check(9_007_199_254_740_992.0, "9007199254740992");
        check(123_456_789_012_345_680_000.0, "123456789012345680000");
        check(1e21, "1e+21");
        check(-1.25e300, "-1.25e+300");
        check(0.000_001, "0.000001");
        check(0.000_000_1, "1e-7");
        check(-0.000_000_123, "-1.23e-7");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::from(0.1_f32), "0.10000000149011612");
        check(f64::NAN, "null");
        check(f64::NEG_INFINITY, "null");
    }
}
