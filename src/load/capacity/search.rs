//! Which rate is tried next: twice as much as long as it holds, then halfway between what held and what did not.

/// Rates that differ by less than this factor are one.
const PRECISION: f64 = 1.08;
const COARSE: f64 = 2.0;
/// How far down at a time, while nothing has held yet.
const DOWN: f64 = 4.0;

/// The search for the highest rate that holds, in bytes a second.
#[derive(Clone, Debug)]
pub struct Search {
    next: f64,
    floor: f64,
    ceiling: f64,
    held: Option<f64>,
    failed: Option<f64>,
    /// The rate at hand has failed once; a hiccup of the machine must not decide.
    has_doubt: bool,
}

impl Search {
    /// Begins at a rate. None below `floor` or above `ceiling` is tried.
    pub fn new(first: f64, floor: f64, ceiling: f64) -> Self {
        let ceiling = ceiling.max(floor);
        let next = first.clamp(floor, ceiling);
        Self { next, floor, ceiling, held: None, failed: None, has_doubt: false }
    }

    /// The rate to be tried; None: the search is over.
    pub fn next(&self) -> Option<f64> {
        match (self.held, self.failed) {
            (Some(held), Some(failed)) if failed / held <= PRECISION => None,
            (Some(held), None) if held >= self.ceiling => None,
            (None, Some(failed)) if failed <= self.floor => None,
            _ => Some(self.next),
        }
    }

    /// What came of it. A rate that failed for no doubt is not tried again.
    pub fn tell(&mut self, has_held: bool, is_sure: bool) {
        if !has_held && !is_sure && !self.has_doubt {
            self.has_doubt = true;
            return;
        }
        self.has_doubt = false;
        match has_held {
            true => self.held = Some(self.next),
            false => self.failed = Some(self.next),
        }
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => (held * failed).sqrt(),
            (Some(held), None) => (held * COARSE).min(self.ceiling),
            (None, Some(failed)) => (failed / DOWN).max(self.floor),
            (None, None) => self.next,
        };
    }

    /// The highest rate that held.
    pub fn held(&self) -> Option<f64> {
        self.held
    }

    pub fn is_retry(&self) -> bool {
        self.has_doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All rates that are tried where the truth is `capacity`.
    fn run(mut search: Search, capacity: f64) -> (Search, usize) {
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            assert!(tries < 100, "it never ends");
            search.tell(rate <= capacity, false);
        }
        (search, tries)
    }

    proptest! {
        #[test]
        fn the_knee_is_found_closely(capacity in 1e5..1e10f64) {
            let (search, tries) = run(Search::new(1e6, 1e4, 1e12), capacity);
            let held = search.held().unwrap();
            prop_assert!(held <= capacity && held * PRECISION * 1.001 >= capacity, "{held} of {capacity}");
            prop_assert!(search.failed.unwrap() > capacity && tries < 40);
        }
    }

    #[test]
    fn what_never_holds_ends_at_the_floor() {
        let (search, tries) = run(Search::new(1e6, 1e4, 1e12), 0.0);
        assert_eq!((search.held(), search.failed), (None, Some(1e4)));
        assert!(tries <= 10, "{tries}");
    }

    #[test]
    fn nothing_above_the_ceiling_is_tried() {
        let (search, _) = run(Search::new(1e6, 1e4, 7e6), 1e12);
        assert_eq!((search.held(), search.failed), (Some(7e6), None));
    }

    #[test]
    fn one_hiccup_decides_nothing() {
        let mut search = Search::new(1e6, 1e4, 1e9);
        search.tell(false, false);
        assert!(search.is_retry() && search.next() == Some(1e6));
        search.tell(true, false);
        assert_eq!((search.held(), search.next()), (Some(1e6), Some(2e6)));
        search.tell(false, true);
        assert_eq!(search.failed, Some(2e6));
    }
}
