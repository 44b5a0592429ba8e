//! The only source of chance in a run: xoshiro256++, one stream per concern.
//!
//! Streams are salted, so that one more draw about the network does not change what the load looks like.

pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream `salt` of the run `seed`.
    pub(super) fn new(seed: u64, salt: &str) -> Self {
        let mut mix = salt.bytes().fold(seed ^ 0x6a09_e667_f3bc_c908, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let state = std::array::from_fn(|_| split_mix(&mut mix));
        Self { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ shifted, d.rotate_left(45)];
        drawn
    }

    /// Uniform in `0..end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Uniform in `first..=last`.
    pub(super) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Mostly near `typical`, now and then much longer: waiting times as networks have them.
    pub(super) fn around(&mut self, typical: u64) -> u64 {
        match self.below(20) {
            0 => self.below(typical * 20 + 1),
            1..=4 => self.below(typical * 4 + 1),
            _ => self.below(typical + 1),
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_itself_and_differs_from_others() {
        let draw = |seed, salt| {
            let mut random = Random::new(seed, salt);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, "net"), draw(7, "net"));
        assert_ne!(draw(7, "net"), draw(7, "load"));
        assert_ne!(draw(7, "net"), draw(8, "net"));
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(1, "bounds");
        let drawn: Vec<u64> = (0..1000).map(|_| random.between(3, 5)).collect();
        assert!((3..=5).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| (3..=5).contains(n)));
        assert_eq!(random.below(0), 0);
    }
}
