//! Clusters of different versions on the two sides.
