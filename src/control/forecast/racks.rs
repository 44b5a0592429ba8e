//! Whether partitions will be read from replicas in the mirror's rack (KIP-392), as far as the source tells.

use crate::config::Mirror;
use crate::config::nearest;
use crate::control::finding::{About, Finding, Weight};
use std::collections::BTreeSet;

/// The one of Kafka's own selectors that sends consumers to replicas near them.
const SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What the source says of its racks.
#[derive(Clone, Debug, Default)]
pub struct Racks {
    /// Where its brokers are, but for those that have no rack.
    pub racks: BTreeSet<String>,
    /// A broker's `replica.selector.class`, empty where there is none; None: it does not tell.
    pub selector: Option<String>,
}

pub fn findings(config: &Mirror, source: &Racks) -> Vec<Finding> {
    let Some(rack) = &config.rack else { return Vec::new() };
    let warning = |text: String| Finding::new(Weight::Warning, About::Source, text);
    let mut findings = Vec::new();
    if !source.racks.contains(rack) {
        let there = match source.racks.is_empty() {
            true => "none of them has a rack (broker.rack)".to_owned(),
            false => format!("theirs are {}", source.racks.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        let alike = nearest(rack, source.racks.iter().map(String::as_str));
        let hint = alike.map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
        findings.push(warning(format!(
            "no broker is in the rack {rack}, so partitions are read from their leaders; {there}{hint}"
        )));
    }
    match source.selector.as_deref() {
        None | Some(SELECTOR) => {}
        Some("") => findings.push(warning(format!(
            "its brokers have no replica.selector.class, so partitions are read from their leaders, whatever --rack says; set it \
             to {SELECTOR} in their properties"
        ))),
        Some(other) => findings.push(Finding::new(
            Weight::Note,
            About::Source,
            format!("which replicas are read with --rack {rack} is for {other} to say"),
        )),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::topics::tests::config;

    fn found(rack: Option<&str>, racks: &[&str], selector: Option<&str>) -> Vec<String> {
        let config = Mirror { rack: rack.map(str::to_owned), ..config(&["t"], &[]) };
        let racks = racks.iter().map(|&rack| rack.to_owned()).collect();
        let racks = Racks { racks, selector: selector.map(str::to_owned) };
        findings(&config, &racks).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_rack_that_does_nothing_is_told() {
        assert!(found(None, &[], Some("")).is_empty(), "nobody asked");
        assert!(found(Some("eu-1a"), &["eu-1a", "eu-1b"], Some(SELECTOR)).is_empty());
        assert!(found(Some("eu-1a"), &["eu-1a"], None).is_empty(), "it is not told whether it does");
        let typo = found(Some("eu-1"), &["eu-1a", "us-2b"], Some(SELECTOR));
        assert!(typo[0].ends_with("theirs are eu-1a, us-2b; did you mean eu-1a?"), "{typo:?}");
        let bare = found(Some("eu-1a"), &[], Some(""));
        assert!(bare[0].contains("none of them has a rack") && bare[1].contains(SELECTOR), "{bare:?}");
        assert!(found(Some("a"), &["a"], Some("com.example.Selector"))[0].contains("com.example.Selector"));
    }
}
