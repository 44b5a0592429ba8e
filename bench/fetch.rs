//! The yardstick of `twinlog verify`: reads a topic from two clusters as fast as they give it, and throws it away.
//!
//! `cargo bench --bench fetch -- --source HOST:PORT --target HOST:PORT --topic NAME --partitions N [--threads N]
//! [--how read|drop]`. Each cluster is one broker, spoken to without TLS. Both are read at once, each by so many threads with a
//! connection of their own, a partition after the other, 8 MiB a request, the next one sent when the answer is there. `read`
//! receives payloads into memory, `drop` has the kernel drop them. Batch headers are read to know where to go on, and nothing
//! is compared.
//! Prints one line of JSON.

// A yardstick is nothing but sockets, threads and a clock.
#![allow(clippy::disallowed_methods)]

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::RecvFlags;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;
use twinlog::edge::usage;
use twinlog::wire::TopicKey;
use twinlog::wire::fetch::{FetchPartition, FetchRequest, FetchWalk, Walked};

const VERSION: i16 = 12;
const FETCH_BYTES: i32 = 8 << 20;
const SCRATCH_BYTES: usize = 1 << 20;
const INPUT_BYTES: usize = 64 << 10;

struct Options {
    source: String,
    target: String,
    topic: String,
    partitions: i32,
    threads: usize,
    is_read: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let next = [AtomicI32::new(0), AtomicI32::new(0)];
    let bytes: u64 = std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (side, next) in [&options.source, &options.target].into_iter().zip(&next) {
            for _ in 0..options.threads {
                running.push(scope.spawn(|| all(&options, side, next)));
            }
        }
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), usage::process_cpu_us() as f64 / 1e6);
    let how = if options.is_read { "read" } else { "drop" };
    println!(r#"{{"how":"{how}","bytes":{bytes},"seconds":{seconds:.4},"cpu_seconds":{cpu:.4}}}"#);
    ExitCode::SUCCESS
}

/// None: nothing to do.
fn options() -> Result<Option<Options>, String> {
    let mut options = Options {
        source: String::new(),
        target: String::new(),
        topic: String::new(),
        partitions: 1,
        threads: 4,
        is_read: true,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|e| format!("{text}: {e}"));
        match word.as_str() {
            "--source" => options.source = value()?,
            "--target" => options.target = value()?,
            "--topic" => options.topic = value()?,
            "--partitions" => options.partitions = number(value()?)?,
            "--threads" => options.threads = number(value()?)?.unsigned_abs() as usize,
            "--how" => {
                options.is_read = match value()?.as_str() {
                    "read" => true,
                    "drop" => false,
                    other => return Err(format!("--how is read or drop, not {other}")),
                }
            }
            "--bench" => {}
            // What cargo says in a smoke test: there are no clusters then.
            "--test" => return Ok(None),
            other => return Err(format!("{other}: unknown; the head of bench/fetch.rs says what there is")),
        }
    }
    if options.source.is_empty() || options.target.is_empty() || options.topic.is_empty() {
        return Err("--source, --target and --topic are needed".into());
    }
    Ok(Some(options))
}

/// Reads one partition after the other, as long as there are any.
fn all(options: &Options, side: &str, next: &AtomicI32) -> u64 {
    let mut connection = Connection::new(side, options);
    let mut bytes = 0;
    loop {
        let partition = next.fetch_add(1, Ordering::Relaxed);
        if partition >= options.partitions {
            return bytes;
        }
        bytes += connection.partition(partition);
    }
}

struct Connection<'a> {
    options: &'a Options,
    socket: TcpStream,
    walk: FetchWalk,
    input: BytesMut,
    scratch: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(side: &str, options: &'a Options) -> Self {
        let socket = TcpStream::connect(side).unwrap();
        socket.set_nodelay(true).unwrap();
        let (walk, input) = (FetchWalk::new(VERSION), BytesMut::with_capacity(INPUT_BYTES));
        Self { options, socket, walk, input, scratch: vec![0; SCRATCH_BYTES] }
    }

    /// Up to what was its end at the first answer. Returns the bytes of its batches.
    fn partition(&mut self, partition: i32) -> u64 {
        let (mut position, mut end, mut bytes) = (0, i64::MAX, 0);
        while position < end {
            self.ask(partition, position);
            loop {
                match self.walk.step(&mut self.input).unwrap() {
                    Walked::NeedMore => self.receive(),
                    Walked::Partition(head) => {
                        assert_eq!(head.error, 0, "the broker refuses partition {partition}");
                        end = end.min(head.high_watermark);
                    }
                    Walked::Batch { header, .. } => {
                        position = header.next_offset();
                        bytes += header.batch_bytes as u64;
                        self.pass(header.payload_bytes());
                    }
                    Walked::Cut { bytes } => self.pass(bytes),
                    Walked::End => break,
                    _ => {}
                }
            }
        }
        bytes
    }

    fn ask(&mut self, partition: i32, fetch_offset: i64) {
        let mut request = BytesMut::new();
        let partition = FetchPartition {
            topic: TopicKey::Name(Bytes::copy_from_slice(self.options.topic.as_bytes())),
            partition,
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: FETCH_BYTES,
        };
        FetchRequest {
            version: VERSION,
            correlation_id: 0,
            client_id: "fetch",
            max_wait_ms: 200,
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            isolation: 1,
            session_id: 0,
            session_epoch: -1,
            partitions: &[partition],
            forgotten: &[],
            rack: "",
        }
        .encode(&mut request);
        self.socket.write_all(&request).unwrap();
    }

    fn receive(&mut self) {
        let room = &mut self.scratch[..self.walk.at_least()];
        let n = self.socket.read(room).unwrap();
        assert!(n > 0, "the broker closed the connection");
        self.input.extend_from_slice(&room[..n]);
    }

    fn pass(&mut self, bytes: usize) {
        // What was cut is shorter than a header, and may have been received as one.
        let here = bytes.min(self.input.len());
        self.input.advance(here);
        self.walk.take_payload(here);
        let mut left = bytes - here;
        while left > 0 {
            let room = left.min(SCRATCH_BYTES);
            let room = &mut self.scratch[..room];
            let n = match self.options.is_read {
                true => self.socket.read(room).unwrap(),
                false => rustix::net::recv(&self.socket, room, RecvFlags::TRUNC).unwrap().1,
            };
            assert!(n > 0, "the broker closed the connection");
            self.walk.take_payload(n);
            left -= n;
        }
    }
}
