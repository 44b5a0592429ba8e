//! Time as the pure code knows it: a value that somebody hands in.

/// The two clocks at one moment. `edge` reads them, the simulator makes them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds of a clock that never jumps; its zero means nothing.
    pub mono_us: u64,
    /// Milliseconds since the Unix epoch, as record timestamps count. May jump.
    pub wall_ms: i64,
}

impl Now {
    /// The moment `ms` milliseconds later on the steady clock.
    pub fn after_ms(self, ms: u64) -> u64 {
        self.mono_us + ms * 1000
    }
}
