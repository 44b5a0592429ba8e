//! `--oversize raise`: how far a target topic's `max.message.bytes` goes up for a batch that it was too small for.
//!
//! Kafka compares the size of a whole batch, header included, as it comes (`UnifiedLog.analyzeAndValidateRecords`), and again only
//! where a broker compresses it anew. So a batch needs exactly its own size. A quarter is added, for the next one is seldom of the
//! same size, and every change goes through the controller. Nothing is gained above what the source's topic takes: no batch
//! there is larger, unless that was lowered since. The topic's setting is all that counts: it stands over the brokers'
//! `message.max.bytes`, and followers fetch a batch of any size (KIP-74).

use super::configs::{MESSAGE_BYTES, TopicConfigs};

/// What is added to a batch's size, as a part of it.
const MARGIN: i64 = 4;

/// What a batch of that size takes: the setting's old and its new value, or None if it is large enough by now.
///
/// # Errors
/// It cannot be; the words follow "because".
pub fn room(
    batch_bytes: i64,
    source: Option<&TopicConfigs>,
    target: Option<&TopicConfigs>,
) -> Result<Option<(i64, i64)>, String> {
    let number = |configs: Option<&TopicConfigs>, side: &str| {
        configs
            .and_then(|configs| configs.number(MESSAGE_BYTES))
            .ok_or_else(|| format!("the {side} does not tell it: grant DESCRIBE_CONFIGS on the topic there"))
    };
    let now_bytes = number(target, "target")?;
    if now_bytes >= batch_bytes {
        return Ok(None);
    }
    let most_bytes = number(source, "source")?;
    if most_bytes < batch_bytes {
        return Err(format!(
            "a batch has {batch_bytes} bytes and the source's topic takes {most_bytes} by now"
        ));
    }
    Ok(Some((now_bytes, most_bytes.min(batch_bytes.saturating_add(batch_bytes / MARGIN)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(bytes: i64) -> TopicConfigs {
        let effective = [(MESSAGE_BYTES.to_owned(), bytes.to_string())].into();
        TopicConfigs { effective, ..TopicConfigs::default() }
    }

    #[test]
    fn it_is_raised_for_the_batch_and_a_little_more_and_never_above_the_source() {
        let raised = |batch, source, target| room(batch, Some(&takes(source)), Some(&takes(target)));
        assert_eq!(raised(1_000, 10_000, 500), Ok(Some((500, 1_250))));
        assert_eq!(raised(9_000, 10_000, 500), Ok(Some((500, 10_000))));
        assert_eq!(raised(10_000, 10_000, 500), Ok(Some((500, 10_000))));
        assert_eq!(raised(10_000, 10_000, 10_000), Ok(None), "another partition had it raised");
        assert_eq!(raised(9_000, 5_000, 20_000), Ok(None), "it is never lowered");
        assert!(raised(10_001, 10_000, 500).unwrap_err().contains("takes 10000 by now"));
    }

    #[test]
    fn what_is_not_known_is_not_raised() {
        let known = takes(1_000);
        assert!(room(2_000, None, Some(&known)).unwrap_err().contains("the source does not tell"));
        assert!(room(2_000, Some(&known), None).unwrap_err().contains("the target does not tell"));
        assert!(room(2_000, Some(&TopicConfigs::default()), Some(&known)).is_err(), "before Kafka 0.11");
    }
}
