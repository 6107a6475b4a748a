//! Schedules of cron jobs: minute, hour, day of the month, month and day of the week, in UTC.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// No further back than this is looked for a time that was missed.
const LOOK_BACK: i64 = 366 * 5;

/// A schedule that was read: a bit for each number that a field allows.
#[derive(Debug, PartialEq)]
pub(super) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both fields of days say something: then one of them is enough.
    either: bool,
}

impl Schedule {
    /// The five fields of a schedule, or one of the words for usual ones.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return None;
        };
        let sundays = field(weekday, 0, 7, &DAYS, 0)?;
        // Sunday has two numbers.
        let weekdays = (sundays | (sundays >> 7)) & 0x7f;
        Some(Self {
            minutes: field(minute, 0, 59, &[], 0)?,
            hours: field(hour, 0, 23, &[], 0)?,
            days: field(day, 1, 31, &[], 0)?,
            months: field(month, 1, 12, &MONTHS, 1)?,
            weekdays,
            either: !every(day) && !every(weekday),
        })
    }

    fn on_day(&self, at: DateTime<Utc>) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().num_days_from_sunday());
        let fits = match self.either {
            true => day || weekday,
            false => day && weekday,
        };
        fits && has(self.months, at.month())
    }

    /// The last time that it was due after one time, and not after another.
    pub(super) fn due(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = until.with_second(0)?.with_nanosecond(0)?;
        let end = after.max(until - TimeDelta::days(LOOK_BACK));
        while at > end {
            if !self.on_day(at) {
                // On to the last minute of the day before.
                at = at.with_hour(0)?.with_minute(0)? - TimeDelta::minutes(1);
                continue;
            }
            if has(self.minutes, at.minute()) && has(self.hours, at.hour()) {
                return Some(at);
            }
            at -= TimeDelta::minutes(1);
        }
        None
    }
}

fn has(bits: u64, number: u32) -> bool {
    (bits >> number) & 1 == 1
}

fn every(text: &str) -> bool {
    text.starts_with(['*', '?'])
}

/// One field: a list of numbers, names, ranges and steps.
fn field(text: &str, low: u32, high: u32, names: &[&str], first: u32) -> Option<u64> {
    let number = |text: &str| -> Option<u32> {
        let lower = text.to_lowercase();
        if let Some(at) = names.iter().position(|name| *name == lower) {
            return Some(u32::try_from(at).ok()? + first);
        }
        let number = text.parse::<u32>().ok()?;
        (low..=high).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok()?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((from, to)) => (number(from)?, number(to)?),
            // A step from one number on goes to the end.
            None if step.is_some() => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        let step = step.unwrap_or(1);
        if from > to || step == 0 {
            return None;
        }
        let mut at = from;
        while at <= to {
            bits |= 1 << at;
            at = at.saturating_add(step);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn at(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
        // 1 March 2026 is a Sunday.
        Utc.with_ymd_and_hms(2026, 3, day, hour, minute, 0)
            .single()
            .expect("a time")
    }

    fn due(text: &str, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Schedule::read(text).expect("a schedule").due(after, until)
    }

    #[test]
    fn times() {
        let (from, to) = (at(3, 10, 7), at(3, 12, 31));
        assert_eq!(due("* * * * *", from, to), Some(at(3, 12, 31)));
        assert_eq!(due("*/15 * * * *", from, to), Some(at(3, 12, 30)));
        assert_eq!(due("0 2 * * *", from, to), None);
        assert_eq!(due("0 2 * * *", at(1, 0, 0), to), Some(at(3, 2, 0)));
        assert_eq!(due("5,20-25/2 11 * * *", from, to), Some(at(3, 11, 24)));
        assert_eq!(
            due("0 0 * * sun", at(1, 0, 1), at(20, 0, 0)),
            Some(at(15, 0, 0))
        );
        assert_eq!(
            due("0 0 * * 7", at(1, 0, 1), at(20, 0, 0)),
            Some(at(15, 0, 0))
        );
        assert_eq!(due("@daily", from, to), None);
        assert_eq!(due("0 0 1 jan *", from, to), None);
    }

    #[test]
    fn either_of_two_kinds_of_days() {
        // The 10th, or a Monday.
        let until = at(12, 0, 0);
        assert_eq!(due("0 0 10 * mon", at(1, 0, 1), until), Some(at(10, 0, 0)));
        assert_eq!(
            due("0 0 10 * mon", at(1, 0, 1), at(9, 5, 0)),
            Some(at(9, 0, 0))
        );
    }

    #[test]
    fn nonsense_is_none() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "x * * * *",
        ] {
            assert_eq!(Schedule::read(text), None, "{text}");
        }
    }
}
