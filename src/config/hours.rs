//! A limit to the bandwidth that depends on the hour: less while people work, more at night.

use super::text;

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// 1970 began on a Thursday.
const FIRST_DAY: i64 = 3;

/// Limits by hours of the week, in UTC. Of several that hold, the first does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateHours(Vec<Hours>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hours {
    /// On which days they begin.
    days: [bool; 7],
    from_minute: i64,
    /// So long; beyond midnight they go on.
    minutes: i64,
    /// None: no limit.
    bytes_per_second: Option<u64>,
}

impl RateHours {
    /// The limit at this time, in milliseconds since 1970; None where nothing is said about it.
    pub fn at(&self, wall_ms: i64) -> Option<Option<u64>> {
        let minute = wall_ms.div_euclid(MINUTE_MS);
        let (day, minute) = (minute.div_euclid(DAY_MINUTES), minute.rem_euclid(DAY_MINUTES));
        let holds = |hours: &&Hours| {
            let began = |days_ago: i64| {
                let weekday = usize::try_from((day + FIRST_DAY - days_ago).rem_euclid(7)).unwrap_or(0);
                let since = minute + days_ago * DAY_MINUTES - hours.from_minute;
                hours.days[weekday] && (0..hours.minutes).contains(&since)
            };
            began(0) || began(1)
        };
        self.0.iter().find(holds).map(|hours| hours.bytes_per_second)
    }
}

/// `08:00-18:00=20MB/s`, `Mon-Fri 08:00-18:00=20MB/s`, `Sat,22:00-06:00=none`; several are parted by commas.
pub fn rate_hours(text: &str) -> Result<RateHours, String> {
    text.split(',').map(|part| hours(part.trim())).collect::<Result<_, _>>().map(RateHours)
}

fn hours(text: &str) -> Result<Hours, String> {
    let unreadable = || {
        format!("`{text}` is not as `08:00-18:00=20MB/s` or `Mon-Fri 22:00-06:00=none` are (hours of UTC)")
    };
    let (when, rate) = text.split_once('=').ok_or_else(unreadable)?;
    let bytes_per_second = match rate.trim() {
        "none" => None,
        rate => Some(text::byte_rate(rate)?),
    };
    let (days, span) = match when.trim().split_once(' ') {
        Some((days, span)) => (self::days(days).ok_or_else(unreadable)?, span.trim()),
        None => ([true; 7], when.trim()),
    };
    let (from, to) = span.split_once('-').ok_or_else(unreadable)?;
    let (from, to) = (minute(from).ok_or_else(unreadable)?, minute(to).ok_or_else(unreadable)?);
    if from == to || from == DAY_MINUTES {
        return Err(format!("`{text}` holds at no time; a whole day is 00:00-24:00"));
    }
    let minutes = if to > from { to - from } else { to + DAY_MINUTES - from };
    Ok(Hours { days, from_minute: from, minutes, bytes_per_second })
}

/// `Mon` or `Fri-Mon`.
fn days(text: &str) -> Option<[bool; 7]> {
    let place = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (place(first)?, place(last)?);
    let length = (last + 7 - first) % 7;
    let mut days = [false; 7];
    (first..=first + length).for_each(|day| days[day % 7] = true);
    Some(days)
}

/// Of the day: `24:00` is its end.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (hour, minute) = (Some(hour).filter(|it| is_number(it))?, Some(minute).filter(|it| is_number(it))?);
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday, 27 November 2026.
    const FRIDAY_MS: i64 = 1_795_737_600_000;

    fn at(hours: &RateHours, day: i64, hour: i64, minute: i64) -> Option<Option<u64>> {
        hours.at(FRIDAY_MS + ((day * 24 + hour) * 60 + minute) * MINUTE_MS)
    }

    #[test]
    fn hours_of_every_day() {
        let hours = rate_hours("08:00-18:30=20MB/s, 18:30-20:00=none").unwrap();
        let limits =
            [(7, 59), (8, 0), (18, 29), (18, 30), (19, 59), (20, 0)].map(|(h, m)| at(&hours, 0, h, m));
        let day = Some(Some(20_000_000));
        assert_eq!(limits, [None, day, day, Some(None), Some(None), None]);
        assert_eq!(RateHours::default().at(FRIDAY_MS), None);
        assert_eq!(rate_hours("00:00-24:00=1MB").unwrap().at(-1), Some(Some(1_000_000)), "before 1970, too");
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let hours = rate_hours("Fri 22:00-06:00=5MB/s,Mon-Thu 10:00-11:00=none").unwrap();
        let night = Some(Some(5_000_000));
        assert_eq!((at(&hours, 0, 5, 0), at(&hours, 0, 23, 0), at(&hours, 1, 5, 59)), (None, night, night));
        assert_eq!((at(&hours, 1, 6, 0), at(&hours, 1, 23, 0)), (None, None));
        let tens: Vec<bool> = (0..7).map(|day| at(&hours, day, 10, 30).is_some()).collect();
        assert_eq!(tens, [false, false, false, true, true, true, true]);
        let weekend = rate_hours("sat-mon 00:00-24:00=none").unwrap();
        let days: Vec<bool> = (0..7).map(|day| at(&weekend, day, 12, 0).is_some()).collect();
        assert_eq!(days, [false, true, true, true, false, false, false]);
    }

    #[test]
    fn the_first_that_holds_counts() {
        let hours = rate_hours("Fri 12:00-13:00=none,00:00-24:00=1MB/s").unwrap();
        assert_eq!((at(&hours, 0, 12, 0), at(&hours, 0, 13, 0)), (Some(None), Some(Some(1_000_000))));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for bad in
            ["", "8-18=1MB", "08:00-18:00", "08:60-18:00=1MB", "25:00-26:00=1MB", "Son 08:00-18:00=1MB"]
        {
            assert!(rate_hours(bad).unwrap_err().contains("Mon-Fri 22:00-06:00=none"), "{bad}");
        }
        assert!(rate_hours("08:00-08:00=1MB").unwrap_err().contains("00:00-24:00"));
        assert!(rate_hours("08:00-09:00=1").unwrap_err().contains("no mirror can hold evenly"));
    }
}
