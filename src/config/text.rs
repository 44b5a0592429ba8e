//! Single values as people type them, on the command line and in the config file alike.
//! Every error is one sentence that can follow "invalid value: ".

use super::names::{TopicNames, check_topic_name};
use super::share::{PARTS_MAX, part_in};
use super::{
    Address, DeletedTopics, ExactlyOnce, Heartbeats, Isolation, LargeGaps, LogFormat, Merge, MetricsNames,
    Mover, Offsets, OnLoss, Oversize, StartFrom, SyncAcls,
};
use crate::limits::{STATE_TOPIC_PREFIX, TOPIC_NAME_BYTES_MAX};
use regex::Regex;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A fetch brings a whole batch at least.
const BYTE_RATE_MIN: u64 = 10_000;

/// `HOST:PORT[,HOST:PORT…]`; IPv6 addresses stand in brackets.
pub fn addresses(text: &str) -> Result<Vec<Address>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(address)
        .collect::<Result<Vec<_>, _>>()
        .and_then(
            |all| if all.is_empty() { Err("expected HOST:PORT, found nothing".into()) } else { Ok(all) },
        )
}

fn address(text: &str) -> Result<Address, String> {
    if text.contains("://") {
        return Err(format!("`{text}` looks like a URL; expected HOST:PORT, for example kafka1:9092"));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            rest.split_once("]:").ok_or_else(|| format!("`{text}` is not of the form [IPV6]:PORT"))?
        }
        None => text
            .rsplit_once(':')
            .ok_or_else(|| format!("`{text}` has no port; expected HOST:PORT, for example {text}:9092"))?,
    };
    if host.is_empty() {
        return Err(format!("`{text}` has no host; expected HOST:PORT, for example localhost{text}"));
    }
    if !text.starts_with('[') && host.contains(':') {
        return Err(format!("`{text}`: an IPv6 address must stand in brackets, for example [::1]:9092"));
    }
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!("`{host}` is not a host name"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Address { host: host.into(), port }),
        _ => Err(format!("`{port}` in `{text}` is not a port (1 to 65535)")),
    }
}

/// Bytes a second: `50MB`, `50MB/s`.
pub fn byte_rate(text: &str) -> Result<u64, String> {
    let rate = bytes(text.strip_suffix("/s").unwrap_or(text))?;
    if rate < BYTE_RATE_MIN {
        return Err(format!(
            "`{text}` is less than {BYTE_RATE_MIN} bytes a second, which no mirror can hold evenly"
        ));
    }
    Ok(rate)
}

/// `PORT` of this machine's loopback, or `IP:PORT`.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| {
        format!("`{text}` is neither a port of this machine's loopback nor IP:PORT, for example 9464 or 0.0.0.0:9464")
    })
}

/// Where a file is.
pub fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a file's name must not be empty".into()) } else { Ok(text.into()) }
}

/// A list of topic patterns. Commas part them, except inside brackets, where they belong to the expression (`a{1,3}`).
pub fn patterns(text: &str) -> Result<Vec<Regex>, String> {
    let all = listed(text).map(pattern).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err("expected a regular expression, found nothing".into()) } else { Ok(all) }
}

/// What commas part, but for those inside brackets.
pub fn listed(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    let mut escaped = false;
    let parts = text.split(move |c| {
        let inside = depth > 0;
        match c {
            _ if std::mem::take(&mut escaped) => return false,
            '\\' => escaped = true,
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && !inside
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// A regular expression that must match the whole topic name, as in Kafka's own tools.
pub fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{text})$")).map_err(|error| no_pattern(text, &error))
}

/// A regular expression that must match the whole of a key, a value or a header, in which a dot stands for a line's end, too.
pub fn content_pattern(text: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::Regex::new(&format!("^(?s:{text})$")).map_err(|error| no_pattern(text, &error))
}

fn no_pattern(text: &str, error: &regex::Error) -> String {
    // The library's message quotes the whole expression over several lines; its last line says what is wrong.
    let message = error.to_string();
    let cause = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let hint = if text.starts_with('*') { "; for \"anything\" write .*" } else { "" };
    format!("`{text}` is not a regular expression: {cause}{hint}")
}

/// A number of bytes: `1048576`, `64KiB`, `256MiB`, `1.5GiB`, `100MB` (powers of ten without the i).
pub fn bytes(text: &str) -> Result<u64, String> {
    let problem =
        || format!("`{text}` is not a size; expected a number of bytes or, for example, 64KiB, 256MiB, 2GiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let unit: f64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err(problem()),
    };
    let number = text[..digits].replace('_', "");
    // Whole numbers exactly, fractions only with a unit.
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit as u64).filter(|n| *n <= i64::MAX as u64).ok_or_else(problem);
    }
    match number.parse::<f64>() {
        Ok(n) if unit > 1.0 && n * unit <= 1e18 => Ok((n * unit).round() as u64),
        _ => Err(problem()),
    }
}

/// [`bytes()`], for amounts of memory.
pub fn memory_bytes(text: &str) -> Result<usize, String> {
    bytes(text).and_then(|n| {
        usize::try_from(n).map_err(|_| format!("`{text}` is more than this machine can address"))
    })
}

/// `earliest`, `latest`, an RFC 3339 time, or milliseconds since the Unix epoch.
pub fn start_from(text: &str) -> Result<StartFrom, String> {
    match text {
        "earliest" => return Ok(StartFrom::Earliest),
        "latest" => return Ok(StartFrom::Latest),
        _ => {}
    }
    if let Ok(ms) = text.parse::<i64>()
        && ms >= 0
    {
        return Ok(StartFrom::TimestampMs(ms));
    }
    rfc3339_ms(text).map(StartFrom::TimestampMs).ok_or_else(|| {
        format!(
            "`{text}` is none of: earliest, latest, a time such as 2026-01-31T08:00:00Z, \
             milliseconds since 1970 such as 1769846400000"
        )
    })
}

/// `auto`, `copy` or `splice`.
pub fn mover(text: &str) -> Result<Mover, String> {
    match text {
        "auto" => Ok(Mover::Auto),
        "copy" => Ok(Mover::Copy),
        "splice" => Ok(Mover::Splice),
        _ => Err(format!("`{text}` is none of: auto, copy, splice")),
    }
}

/// `auto`, `identical` or `append`.
pub fn offsets(text: &str) -> Result<Offsets, String> {
    match text {
        "auto" => Ok(Offsets::Auto),
        "identical" => Ok(Offsets::Identical),
        "append" => Ok(Offsets::Append),
        _ => Err(format!("`{text}` is none of: auto, identical, append")),
    }
}

/// `auto`, `sequences` or `transactions`.
pub fn exactly_once(text: &str) -> Result<ExactlyOnce, String> {
    match text {
        "auto" => Ok(ExactlyOnce::Auto),
        "sequences" => Ok(ExactlyOnce::Sequences),
        "transactions" => Ok(ExactlyOnce::Transactions),
        _ => Err(format!("`{text}` is none of: auto, sequences, transactions")),
    }
}

/// `read-committed` or `read-uncommitted`.
pub fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        "read-committed" => Ok(Isolation::ReadCommitted),
        "read-uncommitted" => Ok(Isolation::ReadUncommitted),
        _ => Err(format!("`{text}` is none of: read-committed, read-uncommitted")),
    }
}

/// `twinlog`, `mirrormaker`, `both`.
pub fn metrics_names(text: &str) -> Result<MetricsNames, String> {
    match text {
        "twinlog" => Ok(MetricsNames::Twinlog),
        "mirrormaker" => Ok(MetricsNames::MirrorMaker),
        "both" => Ok(MetricsNames::Both),
        _ => Err(format!("`{text}` is none of: twinlog, mirrormaker, both")),
    }
}

/// `none`, `readers`, `all`.
pub fn sync_acls(text: &str) -> Result<SyncAcls, String> {
    match text {
        "none" => Ok(SyncAcls::None),
        "readers" => Ok(SyncAcls::Readers),
        "all" => Ok(SyncAcls::All),
        _ => Err(format!("`{text}` is none of: none, readers, all")),
    }
}

/// `none`, `all`, or some of `target`, `source`, `relay`, separated by commas.
pub fn heartbeats(text: &str) -> Result<Heartbeats, String> {
    match text {
        "none" => return Ok(Heartbeats::default()),
        "all" => return Ok(Heartbeats::ALL),
        _ => {}
    }
    let mut heartbeats = Heartbeats::default();
    for part in text.split(',').map(str::trim) {
        let which = match part {
            "target" => &mut heartbeats.target,
            "source" => &mut heartbeats.source,
            "relay" => &mut heartbeats.relay,
            _ => return Err(format!("`{part}` is none of: target, source, relay; or none or all alone")),
        };
        *which = true;
    }
    Ok(heartbeats)
}

/// What MirrorMaker 2's clients call a cluster; it stands in names of topics.
pub fn alias(text: &str) -> Result<String, String> {
    check_topic_name(text).map(|()| text.to_owned())
}

/// A topic's name.
pub fn topic_name(text: &str) -> Result<String, String> {
    check_topic_name(text).map(|()| text.to_owned())
}

/// `halt` or `record-and-continue`.
pub fn on_loss(text: &str) -> Result<OnLoss, String> {
    match text {
        "halt" => Ok(OnLoss::Halt),
        "record-and-continue" => Ok(OnLoss::RecordAndContinue),
        _ => Err(format!("`{text}` is none of: halt, record-and-continue")),
    }
}

/// `keep`, `flag` or `delete`.
pub fn deleted_topics(text: &str) -> Result<DeletedTopics, String> {
    match text {
        "keep" => Ok(DeletedTopics::Keep),
        "flag" => Ok(DeletedTopics::Flag),
        "delete" => Ok(DeletedTopics::Delete),
        _ => Err(format!("`{text}` is none of: keep, flag, delete")),
    }
}

/// A pattern of [`patterns`] as it was typed, without the anchors at both ends.
pub fn typed(pattern: &Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
}

/// `auto`, `always` or `never`.
pub fn merge(text: &str) -> Result<Merge, String> {
    match text {
        "auto" => Ok(Merge::Auto),
        "always" => Ok(Merge::Always),
        "never" => Ok(Merge::Never),
        _ => Err(format!("`{text}` is none of: auto, always, never")),
    }
}

/// `split`, `raise` or `halt`.
pub fn oversize(text: &str) -> Result<Oversize, String> {
    match text {
        "split" => Ok(Oversize::Split),
        "raise" => Ok(Oversize::Raise),
        "halt" => Ok(Oversize::Halt),
        _ => Err(format!("`{text}` is none of: split, raise, halt")),
    }
}

/// A topic's name that is no link's state.
pub fn dead_letter(text: &str) -> Result<String, String> {
    check_topic_name(text)?;
    match text.starts_with(STATE_TOPIC_PREFIX) {
        true => Err(format!("{STATE_TOPIC_PREFIX} stands before the topics in which links keep their state")),
        false => Ok(text.to_owned()),
    }
}

/// `halt` or `aborted-records`.
pub fn large_gaps(text: &str) -> Result<LargeGaps, String> {
    match text {
        "halt" => Ok(LargeGaps::Halt),
        "aborted-records" => Ok(LargeGaps::AbortedRecords),
        _ => Err(format!("`{text}` is none of: halt, aborted-records")),
    }
}

/// A number of offsets, 0 included.
pub fn offset_count(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|count| *count >= 0)
        .ok_or_else(|| format!("`{text}` is not a number of offsets"))
}

/// `all` (the empty list), `0,1`, `2..5` (both ends included), or a mix of them.
pub fn cores(text: &str) -> Result<Vec<usize>, String> {
    if text == "all" {
        return Ok(Vec::new());
    }
    let problem = || format!("`{text}` is not a list of cores; expected, for example, 0,1 or 2..5 or all");
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once("..").or_else(|| part.split_once('-')).unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| problem())?;
        let last: usize = last.trim().trim_start_matches('=').parse().map_err(|_| problem())?;
        if first > last || last >= 4096 {
            return Err(problem());
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// A name that can be part of a topic name: the link's state topic is `__twinlog.<link>`.
pub fn link(text: &str) -> Result<String, String> {
    let longest = TOPIC_NAME_BYTES_MAX - STATE_TOPIC_PREFIX.len();
    if text.is_empty() {
        return Err("a link's name must not be empty".into());
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(format!(
            "`{bad}` may not stand in a link's name; allowed are letters, digits, `.`, `_` and `-`"
        ));
    }
    if part_in(text).is_some() {
        return Err(format!(
            "`{text}` is what a part of a link is called (see --instances); choose another name"
        ));
    }
    if text.len() > longest {
        return Err(format!("a link's name may have {longest} characters, this one has {}", text.len()));
    }
    Ok(text.into())
}

/// `auto`, or `one`. Whether instances share the link.
pub fn instances(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "one" => Ok(false),
        _ => Err(format!("`{text}` is none of: auto, one")),
    }
}

/// In how many parts a link is divided.
pub fn parts(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(parts @ 1..=PARTS_MAX) => Ok(parts),
        _ => Err(format!("`{text}` is not a number from 1 to {PARTS_MAX}")),
    }
}

/// What an instance is called: what a topic may be called, too (Kafka checks `group.instance.id` like that).
pub fn instance(text: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text {
        "" | "." | ".." => Err(format!("`{text}` cannot be an instance's name")),
        _ if text.len() > TOPIC_NAME_BYTES_MAX => Err(format!(
            "an instance's name may have {TOPIC_NAME_BYTES_MAX} characters, this one has {}",
            text.len()
        )),
        _ => match text.chars().find(|c| !is_legal(*c)) {
            Some(bad) => Err(format!(
                "`{bad}` may not stand in an instance's name; allowed are letters, digits, `.`, `_` and `-`"
            )),
            None => Ok(text.into()),
        },
    }
}

/// What stands before topics' names on the target.
pub fn prefix(text: &str) -> Result<String, String> {
    TopicNames::new(Some(text.to_owned()), Vec::new()).map(|_| text.to_owned())
}

/// `FROM=TO`, separated by commas: names of topics on the source, and on the target.
pub fn renames(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let all = parts.map(|part| {
        let (from, to) = part.split_once('=').ok_or_else(|| {
            format!("`{part}` is not FROM=TO, the topic's names on the source and on the target")
        })?;
        check_topic_name(from)?;
        check_topic_name(to)?;
        Ok((from.to_owned(), to.to_owned()))
    });
    all.collect()
}

/// What Kafka understands as a replication factor.
pub fn replication_factor(text: &str) -> Result<i16, String> {
    match text.parse::<i16>() {
        Ok(factor) if factor >= 1 => Ok(factor),
        _ => Err(format!("`{text}` is not a replication factor (1 to {})", i16::MAX)),
    }
}

/// A duration in milliseconds.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    // What a broker and every clock understand.
    text.replace('_', "")
        .parse::<u64>()
        .ok()
        .filter(|ms| *ms <= i32::MAX as u64)
        .ok_or_else(|| format!("`{text}` is not a number of milliseconds (0 to {})", i32::MAX))
}

/// A duration with its unit, in µs: `50ms`, `2.5s`, `10m`, `24h`.
pub fn duration_us(text: &str) -> Result<u64, String> {
    let problem =
        || format!("`{text}` is not a duration; expected a number with a unit: 50ms, 60s, 10m, 24h, 7d");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let unit_us: f64 = match trimmed[digits..].trim() {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" | "min" => 60e6,
        "h" => 3600e6,
        "d" => 86_400e6,
        "" => return Err(format!("`{text}` has no unit; expected, for example, 50ms, 60s, 10m, 24h")),
        _ => return Err(problem()),
    };
    let us = trimmed[..digits].parse::<f64>().ok().map(|number| number * unit_us);
    us.filter(|us| (1.0..=3.2e15).contains(us)).map(|us| us.round() as u64).ok_or_else(problem)
}

/// A small number of things.
pub fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

/// What a client calls itself; shows up in the brokers' logs, metrics and quotas.
pub fn client_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 200 || text.contains(char::is_control) {
        return Err("a client id must be 1 to 200 printable characters".into());
    }
    Ok(text.into())
}

/// A place, as brokers name theirs (`broker.rack`).
pub fn rack(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 200 || text.contains(char::is_control) {
        return Err("a rack has a name of 1 to 200 printable characters, that of broker.rack".into());
    }
    Ok(text.into())
}

/// `text` or `json`.
pub fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is none of: text, json")),
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)` as milliseconds since the Unix epoch.
fn rfc3339_ms(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let separator =
        |at: usize, allowed: &[u8]| text.as_bytes().get(at).filter(|b| allowed.contains(b)).map(|_| ());
    separator(4, b"-")?;
    separator(7, b"-")?;
    separator(10, b"Tt ")?;
    separator(13, b":")?;
    separator(16, b":")?;
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 60 {
        return None;
    }

    let mut rest = text.get(19..)?;
    let mut fraction_ms = 0;
    if let Some(digits) = rest.strip_prefix('.') {
        let end = digits.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        for (place, digit) in [100, 10, 1].into_iter().zip(digits[..end].bytes()) {
            fraction_ms += place * i64::from(digit - b'0');
        }
        rest = &digits[end..];
    }
    let zone_minutes = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let digit = |b: &u8| i64::from(b - b'0');
            let minutes = (digit(h1) * 10 + digit(h2)) * 60 + digit(m1) * 10 + digit(m2);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };

    // Days since 1970 in the proleptic Gregorian calendar, with the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    Some((((days * 24 + hour) * 60 + minute - zone_minutes) * 60 + second) * 1000 + fraction_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_bad_ones_explained() {
        let all = addresses("kafka1:9092, [::1]:9093 ,10.0.0.1:1").unwrap();
        let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["kafka1:9092", "[::1]:9093", "10.0.0.1:1"]);
        for (bad, why) in [
            ("kafka1", "no port"),
            (":9092", "no host"),
            ("kafka1:0", "not a port"),
            ("kafka1:70000", "not a port"),
            ("::1:9092", "brackets"),
            ("http://kafka1:9092", "URL"),
            ("", "found nothing"),
            ("a b:9092", "not a host name"),
        ] {
            let error = addresses(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn patterns_match_whole_names_and_keep_commas_inside_brackets() {
        let all = patterns(r"orders, clicks\.v[1,2],a{1,2}").unwrap();
        assert_eq!(all.len(), 3);
        assert!(all[0].is_match("orders") && !all[0].is_match("orders2"));
        assert!(all[1].is_match("clicks.v1") && !all[1].is_match("clicksxv1"));
        assert!(all[2].is_match("aa") && !all[2].is_match("aaa"));
        let error = patterns("*").unwrap_err();
        assert!(error.contains("write .*"), "{error}");
        assert!(patterns("a(").unwrap_err().contains("`a(`"));
        assert!(patterns("a|b").unwrap()[0].is_match("b"));
    }

    #[test]
    fn heartbeats_are_chosen() {
        assert_eq!(heartbeats("none"), Ok(Heartbeats::default()));
        assert_eq!(heartbeats("all"), heartbeats("relay, source,target"));
        let some = heartbeats("target,relay").unwrap();
        assert_eq!((some.target, some.source, some.relay), (true, false, true));
        assert!(heartbeats("both").unwrap_err().contains("`both` is none of: target, source, relay"));
        assert!(alias("a b").is_err() && alias("").is_err());
        assert_eq!(alias("east"), Ok("east".into()));
    }

    #[test]
    fn renamed_topics() {
        let one = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(renames("a=b, c=d"), Ok(vec![one("a", "b"), one("c", "d")]));
        assert!(renames("a").unwrap_err().contains("FROM=TO"));
        assert!(renames("a=b c").unwrap_err().contains("` `"));
        assert!(prefix("a:").is_err() && prefix("east.").is_ok());
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(bytes("100MB"), Ok(100_000_000));
        assert_eq!(bytes("0"), Ok(0));
        for bad in ["", "12QiB", "MiB", "-1", "1.5", "99999999999GiB", "1..2k"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn start_points() {
        assert_eq!(start_from("earliest"), Ok(StartFrom::Earliest));
        assert_eq!(start_from("0"), Ok(StartFrom::TimestampMs(0)));
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.25Z", 951_825_600_250),
            ("2026-11-22T23:30:00+01:30", 1_795_384_800_000),
            ("1969-12-31 23:59:59.999Z", -1),
        ] {
            assert_eq!(start_from(text), Ok(StartFrom::TimestampMs(ms)), "{text}");
        }
        for bad in [
            "now",
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "-5",
            "ä",
        ] {
            assert!(start_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn core_lists() {
        assert_eq!(cores("all"), Ok(vec![]));
        assert_eq!(cores("3,0,1"), Ok(vec![0, 1, 3]));
        assert_eq!(cores("2..5"), Ok(vec![2, 3, 4, 5]));
        assert_eq!(cores("0,2-3"), Ok(vec![0, 2, 3]));
        for bad in ["", "5..2", "a", "1..", "0..99999999"] {
            assert!(cores(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn link_names_are_topic_name_parts() {
        assert_eq!(link("east-to-west.1"), Ok("east-to-west.1".into()));
        assert!(link("").is_err());
        assert!(link("a/b").unwrap_err().contains("`/`"));
        assert!(link(&"x".repeat(240)).unwrap_err().contains("239"));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(
            ["50ms", "2.5s", "10m", "24h", "750us"].map(duration_us),
            [Ok(50_000), Ok(2_500_000), Ok(600_000_000), Ok(86_400_000_000), Ok(750)]
        );
        for wrong in ["10", "0s", "-1s", "5 weeks", "s", ""] {
            assert!(duration_us(wrong).is_err(), "{wrong}");
        }
        assert!(duration_us("10").unwrap_err().contains("unit"));
    }
}
