//! `twinlog plan`.

use super::MirrorArgs;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct PlanArgs {
    #[command(flatten)]
    pub mirror: MirrorArgs,

    /// Print the plan as one JSON object
    #[arg(long)]
    pub json: bool,

    /// List users with SCRAM passwords that the target lacks, or has with another mechanism or number of iterations, each with the
    /// kafka-configs command that sets it. Passwords themselves no broker tells. Takes DESCRIBE on both clusters
    #[arg(long)]
    pub scram_users: bool,
}

const AFTER_HELP: &str = "\
For each topic: whether it exists on the target or with which partitions and settings it would be created, how its offsets will be
and why, where the mirror begins or goes on and how much is left, and which records are so old that the target's brokers forget
the mirror while it writes them. Then what stands in the way: settings that would change or refuse records, rights that are
missing (each with the kafka-acls command that grants it), what brokers are too old for, and what would change of access rules and
quotas where these are kept in step.

Whether the target would create a topic is asked of it without creating it. Rights are what brokers tell of this user; topics
that it may not see do not show.

Examples:
  twinlog plan --source east:9092 --target west:9092 --topics 'orders,clicks\\..*' --groups 'billing'
  twinlog plan --config twinlog.toml --scram-users
  twinlog plan --config twinlog.toml --json | jq '.findings[] | select(.weight == \"stops\")'

Exit codes: 0 everything that was asked for would be mirrored, 3 something would be left out or stopped (marked STOPS), 1 a cluster
cannot be asked, 2 wrong usage or configuration.";
