//! Where the ticks go, and what is written at them.

use crate::stats::units;

/// One axis of a chart. What is on a logarithmic scale is given as logarithms.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What is shown, with its unit.
    pub label: String,
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<(f64, String)>,
    /// Thin lines without a label.
    pub light: Vec<f64>,
}

impl Axis {
    /// From `from` to `to`, or a little further.
    pub fn linear(label: &str, from: f64, to: f64, ticks_max: usize) -> Self {
        let span = (to - from).max(1e-9);
        let step = nice_step(span / ticks_max.max(1) as f64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (from / step).ceil() as i64;
        let last = (to / step + 1e-6).floor() as i64;
        let ticks = (first..=last).map(|n| {
            let at = n as f64 * step;
            (at, format!("{at:.decimals$}"))
        });
        Self { label: label.into(), from, to: from + span, ticks: ticks.collect(), light: Vec::new() }
    }

    /// From 0 to a round number that is not below `max`.
    pub fn from_zero(label: &str, max: f64, ticks_max: usize) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = nice_step(max / ticks_max.max(1) as f64);
        Self::linear(label, 0.0, (max / step).ceil() * step, ticks_max)
    }

    /// Whole powers of ten of µs that hold all of these. Values are decimal logarithms.
    pub fn log_us(label: &str, min_us: u64, max_us: u64) -> Self {
        let from = (min_us.max(1) as f64).log10().floor();
        let to = (max_us.max(2) as f64).log10().ceil().max(from + 1.0);
        let decades = from as i32..=to as i32;
        let ticks =
            decades.clone().map(|power| (f64::from(power), units::us(10u64.pow(power.unsigned_abs()))));
        let light = decades.flat_map(|power| (2..10).map(move |n| f64::from(power) + f64::from(n).log10()));
        Self {
            label: label.into(),
            from,
            to,
            ticks: ticks.map(|(at, text)| (at, text.replace(".00", "").replace(".0", ""))).collect(),
            light: light.filter(|at| *at < to).collect(),
        }
    }

    /// Without the texts that would come too close to the one before, if the axis is so long.
    pub fn thinned(&self, length_px: f64) -> Self {
        let mut thinned = self.clone();
        let mut free_from = f64::NEG_INFINITY;
        for (at, text) in &mut thinned.ticks {
            let middle = (*at - self.from) / (self.to - self.from).max(1e-9) * length_px;
            let half = text_px(text) / 2.0 + 4.0;
            match middle - half >= free_from {
                true => free_from = middle + half,
                false => text.clear(),
            }
        }
        thinned
    }

    /// Percentiles, the further right the finer: each power of ten takes as much room, as HdrHistogram's plots have it.
    pub fn percentiles(count: u64) -> Self {
        let to = (count.max(1) as f64).log10().ceil().clamp(2.0, 6.0);
        let named = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
        let ticks =
            named.into_iter().map(|percent| (percentile_at(percent / 100.0, to), format!("{percent} %")));
        let ticks: Vec<(f64, String)> = ticks.collect();
        let mut kept: Vec<(f64, String)> = Vec::new();
        for tick in ticks {
            if kept.last().is_none_or(|last| tick.0 > last.0 + 1e-6) {
                kept.push(tick);
            }
        }
        // At the right end stands the maximum.
        kept.retain(|tick| tick.0 < to - 1e-6);
        kept.push((to, "max".into()));
        Self { label: "percentile of batches".into(), from: 0.0, to, ticks: kept, light: Vec::new() }
    }
}

/// About how wide a text comes out.
pub fn text_px(text: &str) -> f64 {
    const CHAR_PX: f64 = 6.9;
    text.chars().count() as f64 * CHAR_PX
}

/// Where a quantile stands on such an axis that ends at `to`.
pub fn percentile_at(quantile: f64, to: f64) -> f64 {
    let rest = (1.0 - quantile).max(0.0);
    if rest == 0.0 { to } else { (-rest.log10()).clamp(0.0, to) }
}

/// The smallest of 1, 2, 5, 10, 20, … that is not below.
fn nice_step(at_least: f64) -> f64 {
    let power = 10f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= at_least * 0.999)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_not_too_many() {
        assert_eq!(texts(&Axis::from_zero("x", 23.0, 6)), ["0", "5", "10", "15", "20", "25"]);
        assert_eq!(texts(&Axis::from_zero("x", 0.31, 4)), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(texts(&Axis::linear("x", 0.0, 1.9, 4)), ["0.0", "0.5", "1.0", "1.5"]);
        assert_eq!(texts(&Axis::from_zero("x", 0.0, 4)), ["0.0", "0.5", "1.0"]);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let axis = Axis::percentiles(5_000);
        assert_eq!(axis.thinned(800.0).ticks, axis.ticks);
        assert_eq!(texts(&axis.thinned(290.0)), ["0 %", "", "90 %", "99 %", "99.9 %", "max"]);
    }

    #[test]
    fn latencies_take_whole_powers_of_ten() {
        let axis = Axis::log_us("latency", 230, 41_000);
        assert_eq!((axis.from, axis.to), (2.0, 5.0));
        assert_eq!(texts(&axis), ["100 µs", "1 ms", "10 ms", "100 ms"]);
        assert_eq!(Axis::log_us("latency", 0, 0).to, 1.0);
    }

    #[test]
    fn percentiles_stand_where_hdrhistogram_puts_them() {
        let axis = Axis::percentiles(5_000);
        assert_eq!(texts(&axis), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "max"]);
        assert!((percentile_at(0.999, 4.0) - 3.0).abs() < 1e-9);
        assert_eq!((percentile_at(0.0, 4.0), percentile_at(1.0, 4.0)), (0.0, 4.0));
    }
}
