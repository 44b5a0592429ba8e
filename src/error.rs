//! Kafka's error codes and what each means for a mirror: retry, look up the leader, ask for the position, stop the lane.
