//! Histogram logs, as HdrHistogram's own tools and viewers read them: one line for each interval, the histogram compressed (V2) and
//! in base64. Values are nanoseconds and times seconds, as those tools expect.

use crate::stats::Latency;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const NS_PER_US: u64 = 1000;
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Maxima stand in the log in ms, for people.
const NS_PER_MS: f64 = 1e6;

pub struct Hlog<W: Write = BufWriter<File>> {
    path: PathBuf,
    file: W,
    serializer: V2DeflateSerializer,
    /// The first thing that went wrong. Nothing is written after it.
    trouble: Option<String>,
}

impl Hlog {
    /// Makes the file, or empties it. Intervals will count from `start_ms` (since 1970).
    pub fn create(path: &Path, start_ms: i64, comment: &str) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Self::begin(path, BufWriter::new(file), start_ms, comment)
    }
}

impl<W: Write> Hlog<W> {
    fn begin(path: &Path, mut file: W, start_ms: i64, comment: &str) -> Result<Self, String> {
        let start_s = start_ms as f64 / 1e3;
        let begun = write!(
            file,
            "#[{comment}]\n#[Histogram log format version 1.3]\n#[StartTime: {start_s:.3} (seconds since epoch)]\n\
             #[BaseTime: {start_s:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        );
        begun.map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), file, serializer: V2DeflateSerializer::new(), trouble: None })
    }

    /// Adds what was measured from `begin_us` to `end_us`, both since the start. Viewers show histograms without a tag unless told
    /// otherwise.
    pub fn add(&mut self, tag: Option<&str>, latency: &Latency, begin_us: u64, end_us: u64) {
        if self.trouble.is_some() {
            return;
        }
        if let Err(error) = self.try_add(tag, latency, begin_us, end_us) {
            let trouble = failed(&self.path, &error);
            tracing::warn!("{trouble}; the intervals after {:.0} s will be missing", begin_us as f64 / 1e6);
            self.trouble = Some(trouble);
        }
    }

    fn try_add(
        &mut self,
        tag: Option<&str>,
        latency: &Latency,
        begin_us: u64,
        end_us: u64,
    ) -> io::Result<()> {
        let mut in_ns = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).map_err(io::Error::other)?;
        for each in latency.histogram().iter_recorded() {
            in_ns.saturating_record_n(each.value_iterated_to() * NS_PER_US, each.count_at_value());
        }
        let mut bytes = Vec::new();
        self.serializer.serialize(&in_ns, &mut bytes).map_err(io::Error::other)?;
        if let Some(tag) = tag {
            write!(self.file, "Tag={tag},")?;
        }
        writeln!(
            self.file,
            "{:.3},{:.3},{:.3},{}",
            begin_us as f64 / 1e6,
            end_us.saturating_sub(begin_us) as f64 / 1e6,
            in_ns.max() as f64 / NS_PER_MS,
            BASE64.encode(&bytes)
        )?;
        // What is there when something ends this process is worth having.
        self.file.flush()
    }

    /// What went wrong, if something did.
    pub fn finish(self) -> Result<(), String> {
        self.trouble.map_or(Ok(()), Err)
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn hdrhistograms_reader_finds_what_was_written() {
        let mut written = Vec::new();
        let mut log = Hlog::begin(Path::new("x"), &mut written, 1_700_000_000_123, "a load").unwrap();
        let mut latency = Latency::default();
        latency.record_many_us(1_500, 99);
        latency.record_us(2_000_000);
        log.add(None, &latency, 0, 1_000_000);
        log.add(Some("from-sent"), &Latency::default(), 1_000_000, 2_000_500);
        log.finish().unwrap();

        // Its legend is for people; this reader does not know it, others skip it.
        let text = String::from_utf8(written).unwrap();
        let lines: String =
            text.lines().filter(|line| !line.starts_with('"')).map(|line| line.to_owned() + "\n").collect();
        let entries: Vec<_> = IntervalLogIterator::new(lines.as_bytes()).map(Result::unwrap).collect();
        let intervals: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!((entries.len(), intervals.len()), (4, 2), "{text}");
        assert_eq!(intervals[0].tag(), None);
        assert_eq!(intervals[1].tag().map(|tag| tag.as_str()), Some("from-sent"));
        assert_eq!(intervals[1].duration().as_millis(), 1000);
        let bytes = BASE64.decode(intervals[0].encoded_histogram()).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read.len(), 100);
        let near = |ns: u64, expected: f64| (ns as f64 / expected - 1.0).abs() < 0.002;
        assert!(near(read.value_at_quantile(0.5), 1.5e6) && near(read.max(), 2e9), "{}", read.max());
    }

    #[test]
    fn a_full_disk_is_told_and_nothing_else_ends() {
        let Ok(mut log) = Hlog::create(Path::new("/dev/full"), 0, "x") else { return };
        log.add(None, &Latency::default(), 0, 1);
        log.add(None, &Latency::default(), 1, 2);
        let trouble = log.finish().unwrap_err();
        assert!(trouble.contains("/dev/full"), "{trouble}");
    }
}
