//! How much a mirror can do: the [`Slo`] to be kept, the [`Search`] for the highest rate that keeps it, what the [`Signs`] say
//! about why there is no higher one, the [`Plan`] for a rate that is wanted, and the [`CapacityReport`].

mod plan;
mod report;
mod search;
mod signs;
mod slo;

pub use plan::{Basis, Plan};
pub use report::{CapacityReport, Check, Found, Setup, Tried};
pub use search::Search;
pub use signs::{Evidence, Limiter, Sign, Signs};
pub use slo::{Goal, Slo};
