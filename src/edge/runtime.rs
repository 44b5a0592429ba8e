//! One glommio executor for each shard, pinned to a core of its own; and what the machine must offer for that.

use super::clock;
use super::line::{self, Line};
use super::machine::Machine;
use super::security::Accesses;
use super::shard_task::{Commands, Snapshot, drive};
use super::sys;
use crate::shard::{Command, Event, Settings, Shard};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// glommio registers this much for storage I/O with each of three rings. Twinlog does none, and locked memory is scarce.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// No more operations than this wait at a time in one batch; waiting for a socket is one.
const RING_DEPTH: usize = 128;
/// How long a task may go on before the others get their turn.
const PREEMPT_AFTER: Duration = Duration::from_millis(5);
/// What glommio insists on.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
const KERNEL_MIN: (u32, u32) = (5, 8);

/// Why no shard can run here. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "this kernel is {found}; twinlog needs Linux {}.{} or newer, for io_uring",
        KERNEL_MIN.0,
        KERNEL_MIN.1
    )]
    KernelTooOld { found: String },
    #[error(
        "this kernel has no io_uring: it was built without CONFIG_IO_URING, or a sandbox hides it. Run twinlog on a kernel \
         that has it"
    )]
    NoIoUring,
    #[error(
        "this process may not use io_uring. Check `sysctl kernel.io_uring_disabled` (must be 0, or 1 with the process in \
         the group kernel.io_uring_group); in a container, allow io_uring_setup, io_uring_enter and io_uring_register in \
         its seccomp profile"
    )]
    IoUringForbidden,
    #[error("io_uring does not work here: {0}")]
    IoUring(io::Error),
    #[error(
        "the limit on locked memory is {found_bytes} bytes and must be at least {MEMLOCK_BYTES_MIN}. Raise it with \
         `ulimit -l 8192`, LimitMEMLOCK=8M in a systemd unit, or --ulimit memlock=8388608 for a container"
    )]
    MemlockTooLow { found_bytes: u64 },
    #[error("core {core} cannot be used; this process may run on {}", list(allowed))]
    NoSuchCore { core: usize, allowed: Vec<usize> },
    #[error("core {core} is listed twice; each shard has a core of its own")]
    CoreTwice { core: usize },
    #[error("cannot start a shard on core {core}: {cause}")]
    Start { core: usize, cause: String },
}

fn list(cores: &[usize]) -> String {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    format!("core {}", cores.join(", "))
}

/// The cores to put shards on: those asked for, or when none are, all that this process may use.
pub fn choose_cores(asked: &[usize]) -> Result<Vec<usize>, RuntimeError> {
    let mut allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    allowed.sort_unstable();
    choose_among(allowed, asked)
}

fn choose_among(allowed: Vec<usize>, asked: &[usize]) -> Result<Vec<usize>, RuntimeError> {
    if asked.is_empty() {
        return Ok(allowed);
    }
    for (i, &core) in asked.iter().enumerate() {
        if asked[..i].contains(&core) {
            return Err(RuntimeError::CoreTwice { core });
        }
        if !allowed.contains(&core) {
            return Err(RuntimeError::NoSuchCore { core, allowed });
        }
    }
    Ok(asked.to_vec())
}

/// Whether shards can run here at all. Worth calling before anything else is started.
pub fn check_machine() -> Result<(), RuntimeError> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    if kernel_version(&release).is_some_and(|version| version < KERNEL_MIN) {
        return Err(RuntimeError::KernelTooOld { found: release.into_owned() });
    }
    sys::probe_io_uring().map_err(|e| match e.raw_os_error() {
        Some(libc::ENOSYS) => RuntimeError::NoIoUring,
        Some(libc::EPERM | libc::EACCES) => RuntimeError::IoUringForbidden,
        _ => RuntimeError::IoUring(e),
    })?;
    let memlock = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    match memlock.current {
        Some(found_bytes) if found_bytes < MEMLOCK_BYTES_MIN => {
            Err(RuntimeError::MemlockTooLow { found_bytes })
        }
        _ => Ok(()),
    }
}

/// `6.1.0-18-amd64` → (6, 1).
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A running shard, seen from control.
pub struct ShardHandle<M: Machine = Shard> {
    core: usize,
    commands: Option<mpsc::Sender<Command>>,
    line: Arc<Line>,
    published: Arc<Mutex<Snapshot<M::Look>>>,
    executor: Option<ExecutorJoinHandle<()>>,
}

/// Starts a shard on `core`. Its events arrive tagged with `index`.
pub fn spawn_shard(
    core: usize,
    index: usize,
    settings: Settings,
    accesses: Accesses,
    events: mpsc::Sender<(usize, Event)>,
) -> Result<ShardHandle, RuntimeError> {
    spawn_machine(core, index, settings.buffer_bytes, move || Shard::new(settings), accesses, events)
}

/// [`spawn_shard`] for any machine, which is made on the new thread.
pub fn spawn_machine<M: Machine + 'static>(
    core: usize,
    index: usize,
    buffer_bytes: usize,
    machine: impl FnOnce() -> M + Send + 'static,
    accesses: Accesses,
    events: mpsc::Sender<(usize, Event)>,
) -> Result<ShardHandle<M>, RuntimeError> {
    let failed = |cause: String| RuntimeError::Start { core, cause };
    let (commands, queue) = mpsc::channel();
    let (line, bell) = Line::new().map_err(|e| failed(e.to_string()))?;
    let line = Arc::new(line);
    let published = Arc::new(Mutex::new(Snapshot::default()));
    let (started, starting) = mpsc::channel();

    let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
        .name("shard")
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_AFTER)
        .spawn({
            let commands = Commands { queue, bell, line: Arc::clone(&line) };
            let published = Arc::clone(&published);
            move || async move {
                commands.line.ends_here();
                // Fails only when the spawner has given up waiting, which it never does.
                let _ = started.send(());
                drive(machine(), index, buffer_bytes, accesses, commands, events, published).await;
            }
        })
        .map_err(|e| failed(e.to_string()))?;
    if starting.recv().is_err() {
        let cause = match executor.join() {
            Err(e) => e.to_string(),
            Ok(()) => "the executor ended at once".to_owned(),
        };
        return Err(failed(cause));
    }
    line::keep(&line).map_err(|e| failed(e.to_string()))?;
    tracing::debug!(core, shard = index, at_us = clock::now().mono_us, "shard started");
    Ok(ShardHandle { core, commands: Some(commands), line, published, executor: Some(executor) })
}

impl<M: Machine> ShardHandle<M> {
    pub fn core(&self) -> usize {
        self.core
    }

    /// Tells the shard something. Never waits. A shard that has ended hears nothing; `join` says why it ended.
    pub fn send(&self, command: Command) {
        if let Some(commands) = &self.commands
            && commands.send(command).is_ok()
        {
            self.line.call();
        }
    }

    /// What the shard has done so far.
    pub fn snapshot(&self) -> Snapshot<M::Look> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the shard at once, dropping what is under way, and returns its last snapshot. To lose no time in resending, drain
    /// it first. The error is why the shard had ended by itself.
    pub fn join(mut self) -> Result<Snapshot<M::Look>, RuntimeError> {
        self.end().map_err(|cause| RuntimeError::Start { core: self.core, cause })?;
        Ok(self.snapshot())
    }

    fn end(&mut self) -> Result<(), String> {
        drop(self.commands.take());
        self.line.ring();
        match self.executor.take() {
            Some(executor) => executor.join().map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }
}

impl<M: Machine> Drop for ShardHandle<M> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_those_asked_for_or_all() {
        assert_eq!(choose_among(vec![0, 1, 4], &[]).unwrap(), [0, 1, 4]);
        assert_eq!(choose_among(vec![0, 1, 4], &[4, 0]).unwrap(), [4, 0]);
        let unknown = choose_among(vec![0, 1, 4], &[2]).unwrap_err().to_string();
        assert_eq!(unknown, "core 2 cannot be used; this process may run on core 0, 1, 4");
        assert!(matches!(choose_among(vec![0, 1], &[1, 1]), Err(RuntimeError::CoreTwice { core: 1 })));
        assert!(!choose_cores(&[]).unwrap().is_empty());
    }

    #[test]
    fn kernel_versions_are_compared_as_numbers() {
        assert_eq!(kernel_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("5.10"), Some((5, 10)));
        assert!(kernel_version("5.10.1").unwrap() > KERNEL_MIN);
        assert!(kernel_version("5.4.0").unwrap() < KERNEL_MIN);
        assert_eq!(kernel_version("strange"), None);
    }

    #[test]
    fn this_machine_can_run_shards() {
        check_machine().unwrap();
    }
}
