//! The same text in Prometheus's own format, version 0.0.4, for scrapers that do not ask for OpenMetrics.
//!
//! The two differ in lines that begin with `#` only: there counters are called as their series are, with `_total`, what has no type
//! is `untyped`, and neither units nor an end are known.

/// OpenMetrics text in the older format.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    // What a metric means comes before its type, which decides what it is called.
    let mut help = None;
    for line in text.split_inclusive('\n') {
        let words = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        match words {
            None if line.starts_with('#') => {}
            None => classic.push_str(line),
            Some(("HELP", rest)) => help = Some(rest),
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.trim_end().split_once(' ').unwrap_or((rest, "unknown"));
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((_, meaning)) = help.take().and_then(|help| help.split_once(' ')) {
                    classic.extend(["# HELP ", name, suffix, " ", meaning]);
                }
                let kind = if kind == "unknown" { "untyped" } else { kind };
                classic.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            Some(_) => {}
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_of_their_series() {
        let open = "# HELP a_seconds Time a b\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{l=\"# HELP\"} 1\n# HELP b B\n# TYPE b unknown\nb 2\n# HELP c C\n# TYPE c gauge\nc 3\n# EOF\n";
        assert_eq!(
            from_open_metrics(open),
            "# HELP a_seconds_total Time a b\n# TYPE a_seconds_total counter\na_seconds_total{l=\"# HELP\"} 1\n\
             # HELP b B\n# TYPE b untyped\nb 2\n# HELP c C\n# TYPE c gauge\nc 3\n"
        );
    }
}
