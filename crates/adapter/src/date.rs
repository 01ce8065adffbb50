//! Dates as the text that JavaScript makes of them.

/// JavaScript's dates end this many ms before and after 1970.
const MS_MAX: i64 = 8_640_000_000_000_000;
const MS_PER_DAY: i64 = 86_400_000;

/// `ms` since 1970 as `Date.prototype.toISOString` writes it: `2009-02-13T23:31:30.123Z`, years outside 0 to
/// 9999 with a sign and six digits. `None` beyond what a JavaScript date can be, which is `null` in JSON.
pub(crate) fn iso_text(ms: i64) -> Option<String> {
    if !(-MS_MAX..=MS_MAX).contains(&ms) {
        return None;
    }
    let (year, month, day) = civil(ms.div_euclid(MS_PER_DAY));
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let time = ms.rem_euclid(MS_PER_DAY);
    let (hours, minutes) = (time / 3_600_000, time / 60_000 % 60);
    let (seconds, fraction) = (time / 1000 % 60, time % 1000);
    Some(format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{fraction:03}Z"))
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `ms` since 1970 as `Date.prototype.toString` writes it on a server whose clock shows UTC:
/// `Sat Nov 21 2026 02:00:51 GMT+0000 (Coordinated Universal Time)`.
pub fn date_text(ms: u64) -> String {
    let Some(ms) = i64::try_from(ms).ok().filter(|ms| *ms <= MS_MAX) else { return "Invalid Date".into() };
    let days = ms.div_euclid(MS_PER_DAY);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], number: i64| {
        usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or_default()
    };
    // 1970 began on a Thursday.
    let (weekday, month) = (name(&DAYS, (days + 4).rem_euclid(7)), name(&MONTHS, month - 1));
    let seconds = ms.rem_euclid(MS_PER_DAY) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{weekday} {month} {day:02} {year:04} {hours:02}:{minutes:02}:{seconds:02} GMT+0000 (Coordinated Universal Time)"
    )
}

/// Year, month and day of the `days`-th day since 1970 in the Gregorian calendar, also before its time.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last of its year, and in cycles of 400
    // years, which have 146,097 days each. 719,468 days lie between 0000-03-01 and 1970-01-01.
    let since_march_0 = days + 719_468;
    let (cycle, day_of_cycle) = (since_march_0.div_euclid(146_097), since_march_0.rem_euclid(146_097));
    let leap_days = day_of_cycle / 1_460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // The months from March on have 31, 30, 31, 30, 31 days, and again: 153 in five months.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * cycle + year_of_cycle + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_as_in_javascript() {
        let check = |ms, expected: &str| assert_eq!(iso_text(ms).as_deref(), Some(expected), "{ms}");
        check(0, "1970-01-01T00:00:00.000Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(1_234_567_890_123, "2009-02-13T23:31:30.123Z");
        check(951_782_399_000, "2000-02-28T23:59:59.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(-2_203_891_200_000, "1900-03-01T00:00:00.000Z");
        check(253_402_300_799_999, "9999-12-31T23:59:59.999Z");
        check(253_402_300_800_000, "+010000-01-01T00:00:00.000Z");
        check(-62_167_219_200_000, "0000-01-01T00:00:00.000Z");
        check(-62_167_219_200_001, "-000001-12-31T23:59:59.999Z");
        check(MS_MAX, "+275760-09-13T00:00:00.000Z");
        check(-MS_MAX, "-271821-04-20T00:00:00.000Z");
        assert_eq!(iso_text(MS_MAX + 1), None);
        assert_eq!(iso_text(i64::MIN), None);
    }

    #[test]
    fn dates_of_handshakes_print_as_in_javascript() {
        let check = |ms, expected: &str| {
            assert_eq!(date_text(ms), format!("{expected} GMT+0000 (Coordinated Universal Time)"));
        };
        check(0, "Thu Jan 01 1970 00:00:00");
        check(951_782_399_999, "Mon Feb 28 2000 23:59:59");
        check(951_782_400_000, "Tue Feb 29 2000 00:00:00");
        check(1_795_226_126_768, "Sat Nov 21 2026 01:55:26");
        assert_eq!(date_text(u64::MAX), "Invalid Date");
    }

    #[test]
    fn every_day_of_two_cycles_follows_the_one_before() {
        let mut last = civil(-146_098);
        for days in -146_097..146_097 {
            let next = civil(days);
            let (year, month, day) = last;
            let expected = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            assert!(expected.contains(&next), "{last:?} then {next:?}");
            last = next;
        }
        assert_eq!(civil(146_097), (2370, 1, 1));
    }
}
