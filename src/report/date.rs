//! Dates of the calendar, by UTC.

use crate::units::{Day, UnixMs};

/// Years, months and days of a day.
fn civil(day: Day) -> (i64, i64, i64) {
    // Civil date from days since 1970, by eras of 400 years counted from 0000-03-01.
    let z = i64::from(day.0) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = match month_index < 10 {
        true => month_index + 3,
        false => month_index - 9,
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// A day as YYYY-MM-DD.
#[must_use]
pub fn date(day: Day) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A moment as YYYY-MM-DD HH:MM:SS, UTC.
#[must_use]
pub fn moment(at: UnixMs) -> String {
    let second = at.unix_s() % 86_400;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{} {hours:02}:{minutes:02}:{seconds:02}", date(at.day()))
}

/// The first day of the week of `day`: its Monday.
#[must_use]
pub fn monday(day: Day) -> Day {
    // 1970-01-01 was a Thursday; the first days of time have no Monday before them.
    Day(day.0.saturating_sub((day.0 + 3) % 7))
}

/// The first day of the month of `day`.
#[must_use]
pub fn first_of_month(day: Day) -> Day {
    let (_, _, of_month) = civil(day);
    Day(day
        .0
        .saturating_sub(u32::try_from(of_month - 1).unwrap_or(0)))
}

/// The day that YYYY-MM-DD names, from 1970 to 9999.
#[must_use]
pub fn parse(text: &str) -> Option<Day> {
    let mut parts = text.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || text.len() != 10 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month_index = (month + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = u32::try_from(era * 146_097 + day_of_era - 719_468).ok()?;
    // Days that the month does not have come back as others.
    (date(Day(days)) == text).then_some(Day(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar_both_ways() {
        for (day, text) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_088, "2024-12-31"),
        ] {
            assert_eq!(date(Day(day)), text);
            assert_eq!(parse(text), Some(Day(day)));
        }
        for day in 0..40_000 {
            assert_eq!(parse(&date(Day(day))), Some(Day(day)));
        }
        for wrong in [
            "",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "x",
            "1969-12-31",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(moment(UnixMs(86_399_999)), "1970-01-01 23:59:59");
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(
            date(monday(parse("2024-12-31").expect("a date"))),
            "2024-12-30"
        );
        assert_eq!(
            date(monday(parse("2024-12-30").expect("a date"))),
            "2024-12-30"
        );
        assert_eq!(
            date(monday(parse("2025-01-05").expect("a date"))),
            "2024-12-30"
        );
        assert_eq!(
            date(first_of_month(parse("2024-02-29").expect("a date"))),
            "2024-02-01"
        );
    }
}
