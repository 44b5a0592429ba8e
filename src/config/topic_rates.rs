//! Limits to the bandwidth of some topics, beside that of the whole link.

use super::text;
use regex::Regex;

/// Topics that have a limit together. Of several that match a topic, the first counts.
#[derive(Clone, Debug)]
pub struct TopicRate {
    pub topics: Regex,
    pub bytes_per_second: u64,
}

/// `clicks\\..*=20MB/s`; several are parted by commas.
pub fn topic_rates(text: &str) -> Result<Vec<TopicRate>, String> {
    let rate = |part: &str| {
        let (topics, rate) = part
            .rsplit_once('=')
            .ok_or_else(|| format!("`{part}` is not REGEX=RATE, as `clicks\\..*=20MB/s` is"))?;
        Ok(TopicRate {
            topics: text::pattern(topics.trim())?,
            bytes_per_second: text::byte_rate(rate.trim())?,
        })
    };
    text::listed(text).map(rate).collect()
}

/// The place of the limit that holds for a topic.
pub fn rate_of(rates: &[TopicRate], topic: &str) -> Option<usize> {
    rates.iter().position(|rate| rate.topics.is_match(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_matches_counts() {
        let rates = topic_rates(r"clicks\.eu=none_such=5MB/s, a{1,2}=1MB/s,.*=20MB/s").unwrap();
        let of = |topic: &str| rate_of(&rates, topic).map(|at| rates[at].bytes_per_second);
        assert_eq!(
            (of("aa"), of("clicks.eu"), of("b")),
            (Some(1_000_000), Some(20_000_000), Some(20_000_000))
        );
        assert_eq!(rate_of(&rates[..2], "b"), None);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(topic_rates("clicks").unwrap_err().contains("REGEX=RATE"));
        assert!(topic_rates("a(=1MB/s").unwrap_err().contains("`a(`"));
        assert!(topic_rates("a=fast").is_err());
    }
}
