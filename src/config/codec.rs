//! Kafka's compression types.

use std::fmt;
use std::str::FromStr;

/// In the order of Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// As Kafka's `compression.type` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Kafka's number for it, which stands in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    pub fn of_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|codec| codec.name() == typed);
        found.ok_or_else(|| format!("`{typed}` is none of: none, gzip, snappy, lz4, zstd"))
    }
}
