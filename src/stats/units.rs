//! Numbers for people. Data volumes and rates are decimal (1 MB = 1,000,000 bytes), memory is binary (1 MiB = 1,048,576).

use std::time::Duration;

/// `1,234,567`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `17 B`, `1.50 kB`, `23.4 MB`, `1.23 GB`
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `17 B`, `1.50 KiB`, `23.4 MiB`
pub fn memory(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `23.4 MB/s`
pub fn byte_rate(bytes_per_second: f64) -> String {
    scaled(bytes_per_second, 1000.0, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"])
}

/// `1,234 records/s`; below ten with one decimal.
pub fn rate(per_second: f64, of: &str) -> String {
    if per_second < 9.95 && per_second > 0.0 {
        format!("{per_second:.1} {of}/s")
    } else {
        format!("{} {of}/s", count(per_second.round() as u64))
    }
}

/// `350 µs`, `1.24 ms`, `12.3 s`, `2 min 05 s`, `3 h 20 min`, `4 d 02 h`
pub fn duration(duration: Duration) -> String {
    let us = duration.as_micros() as f64;
    let s = duration.as_secs();
    match s {
        0 if us < 999.5 => format!("{us:.0} µs"),
        0 => format!("{} ms", significant(us / 1e3)),
        1..60 => format!("{} s", significant(us / 1e6)),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {:02} h", s / 86_400, s / 3600 % 24),
    }
}

/// [`duration`] of microseconds.
pub fn us(us: u64) -> String {
    duration(Duration::from_micros(us))
}

fn scaled(mut n: f64, step: f64, names: &[&str]) -> String {
    let mut name = 0;
    while n >= step * 0.9995 && name + 1 < names.len() {
        n /= step;
        name += 1;
    }
    if name == 0 { format!("{n:.0} {}", names[0]) } else { format!("{} {}", significant(n), names[name]) }
}

/// Three digits, more before the point.
fn significant(n: f64) -> String {
    match n {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1234567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(17), bytes(1500), bytes(999_999)], ["17 B", "1.50 kB", "1.00 MB"]);
        assert_eq!([bytes(23_400_000), bytes(999_600)], ["23.4 MB", "1.00 MB"]);
        assert_eq!([memory(1 << 20), memory(100 << 10)], ["1.00 MiB", "100 KiB"]);
        assert_eq!(byte_rate(1.234e9), "1.23 GB/s");
        assert_eq!([rate(3.111, "batches"), rate(12345.6, "records")], ["3.1 batches/s", "12,346 records/s"]);
        assert_eq!(rate(0.0, "records"), "0 records/s");
    }

    #[test]
    fn durations_read_well() {
        let shown =
            [0, 350, 1240, 12_340, 999_999, 1_500_000, 125_000_000, 12_000_000_000, 360_000_000_000].map(us);
        let expected = [
            "0 µs",
            "350 µs",
            "1.24 ms",
            "12.3 ms",
            "1000 ms",
            "1.50 s",
            "2 min 05 s",
            "3 h 20 min",
            "4 d 04 h",
        ];
        assert_eq!(shown, expected);
    }
}
