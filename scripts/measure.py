"""What the scripts that take figures share: clusters, processes and what they cost, the files of results."""

import contextlib
import json
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = pathlib.Path(os.environ.get("TWINLOG_CACHE") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "twinlog")
TICKS = os.sysconf("SC_CLK_TCK")
MIRROR_SECONDS_MAX = 180


# --- binaries -----------------------------------------------------------------------------------------------------------


def twinlog():
    """The mirror: TWINLOG_BIN, or it is built."""
    return os.environ.get("TWINLOG_BIN") or built(["cargo", "build", "--release", "--bin", "twinlog"], "twinlog")


def relay():
    """The relay bench: RELAY_BIN, or it is built."""
    return os.environ.get("RELAY_BIN") or built(["cargo", "bench", "--bench", "relay", "--no-run"], "relay")


def fetch():
    """The raw fetch bench: FETCH_BIN, or it is built."""
    return os.environ.get("FETCH_BIN") or built(["cargo", "bench", "--bench", "fetch", "--no-run"], "fetch")


def built(command, name):
    lines = subprocess.run([*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for line in lines.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    sys.exit(f"cargo built no {name}")


# --- clusters -----------------------------------------------------------------------------------------------------------


class Cluster:
    """One broker, as benchmarks want it: G1, the server JVM, 1 GB."""

    def __init__(self, name, port):
        self.name, self.port, self.address = name, port, f"127.0.0.1:{port}"

    def up(self, secure=False, *more):
        flags = ["--secure", *more] if secure else more
        kafka("up", self.name, "--port", str(self.port), "--jvm", "full", "--heap", "1g", *flags)

    def flags(self, side, secure):
        """Where it is and how it is spoken to, for a mirror that has it as this side."""
        if not secure:
            return [f"--{side}", self.address]
        file = CACHE / f"{self.name}.properties"
        file.write_text(kafka("client", self.name, "SSL"))
        return [f"--{side}-config", str(file)]

    def log_bytes(self, topic):
        """Of record batches, as the broker keeps them: as they came over the wire."""
        logs = (CACHE / "clusters" / self.name / "0" / "data").glob(f"{topic}-*[0-9]/*.log")
        return sum(log.stat().st_size for log in logs)

    def down(self):
        subprocess.run([HERE / "kafka", "down", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cpu_seconds(self):
        return cpu_seconds(int((CACHE / "clusters" / self.name / "0" / "pid").read_text()))

    def offsets(self, topic):
        """Offset at the end of each partition."""
        lines = kafka("tool", self.name, "get-offsets", "--topic", topic)
        return dict(re.findall(rf"^{topic}:(\d+):(\d+)$", lines, re.M))

    def delete(self, topic):
        kafka("topics", self.name, "--delete", "--topic", topic, "--if-exists")
        while topic in kafka("topics", self.name, "--list").split():
            time.sleep(0.2)

    def create(self, topic, partitions, *settings):
        configs = [word for setting in ("retention.ms=-1", *settings) for word in ("--config", setting)]
        kafka("topics", self.name, "--create", "--topic", topic, "--partitions", str(partitions), *configs)

    def fill(self, topic, megabytes, partitions, batch_bytes):
        """A topic of records of 1,000 bytes."""
        self.create(topic, partitions)
        self.produce(topic, megabytes, batch_bytes)

    def produce(self, topic, megabytes, batch_bytes, codec="none", payloads=None):
        """Records of 1,000 bytes by Kafka's kafka-producer-perf-test, idempotent and with acks=all, as producers are by default:
        random letters, or lines of a file picked at random."""
        values = ["--payload-file", str(payloads)] if payloads else ["--record-size", "1000"]
        # As a class, because the tool's short form takes no settings beside its own.
        kafka("run", self.name, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic,
              "--num-records", str(megabytes * 1000), *values, "--throughput", "-1",
              "--producer-props", f"bootstrap.servers={self.address}", f"batch.size={batch_bytes}", "linger.ms=500",
              "buffer.memory=134217728", f"max.request.size={max(batch_bytes * 2, 1 << 20)}", f"compression.type={codec}")


@contextlib.contextmanager
def delay(cluster, rtt_ms):
    """Makes the way to a cluster so much longer; gives what the cluster has to be started with, so that clients take that way."""
    if not rtt_ms:
        yield []
        return
    port = cluster.port - 1000
    process = subprocess.Popen([HERE / "delay", str(port), str(cluster.port), str(rtt_ms)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield ["--set", f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}"]
    finally:
        process.kill()
        process.wait()


def json_payloads(file, how_many=20_000):
    """Values of 1,000 bytes as services log them, one a line: the same names in each, numbers and texts that differ."""
    seeded = random.Random(1)
    pick, below = seeded.choice, seeded.randrange
    words = ["".join(pick("etaoinshrdlu") for _ in range(below(3, 10))) for _ in range(500)]
    sentences = [" ".join(pick(words) for _ in range(12)) for _ in range(100)]
    with open(file, "w") as out:
        for number in range(how_many):
            event = {
                "timestamp": f"2026-11-26T12:{number // 60 % 60:02}:{number % 60:02}.{below(1000):03}Z",
                "level": pick(["INFO", "INFO", "INFO", "WARN", "ERROR"]),
                "service": pick(["checkout", "catalogue", "payments", "search", "accounts"]),
                "host": f"ip-10-{below(4)}-{below(256)}-{below(256)}.internal",
                "traceId": f"{seeded.getrandbits(128):032x}",
                "spanId": f"{seeded.getrandbits(64):016x}",
                "user": {"id": below(10_000_000), "country": pick(["DE", "US", "FR", "BR", "IN"]), "premium": pick([True, False])},
                "request": {"method": pick(["GET", "GET", "POST"]), "path": f"/api/v2/{pick(words)}/{below(100_000)}",
                            "status": pick([200, 200, 200, 404, 500]), "durationMs": below(1_000_000) / 1000},
                "message": "",
            }
            room = 1000 - len(json.dumps(event))
            message = ""
            while len(message) < room:
                message += f"{pick(sentences)}: {below(100_000)}; "
            out.write(json.dumps({**event, "message": message[:room]}) + "\n")
    return file


def lines(file):
    """What a file of JSON lines holds."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def kafka(*words):
    return subprocess.run([HERE / "kafka", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


class Judge:
    """Kafka's own clients, kept in one process: scripts/judge/Judge.java says what they can do."""

    def __init__(self):
        self.process = subprocess.Popen(java("Judge.java"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        """The lines of the answer."""
        return list(self.lines(*words))

    def lines(self, *words):
        """As ask, each line when it comes."""
        command = " ".join(str(word) for word in words)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("error "):
                sys.exit(f"{command}: {line}")
            if line == "ok\n":
                return
            yield line.rstrip("\n")
        sys.exit(f"the judge ended during '{command}'")

    def end(self):
        self.process.kill()
        self.process.wait()


class LiveTimer:
    """One of Kafka's consumers that takes the time of each record from its timestamp on; ready when this is there."""

    def __init__(self, cluster, topic, skip, records, patience_s=180):
        self.records = records
        self.process = subprocess.Popen(java("Latency.java", cluster.address, topic, skip, records, patience_s),
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            sys.exit("the consumer that measures did not start")

    def percentiles(self):
        """In ms; waits until all records have come."""
        measured, *rest = map(int, self.process.communicate()[0].split())
        if measured != self.records:
            sys.exit(f"only {measured} of {self.records} records came to be measured")
        return dict(zip(("p50", "p99", "p999", "max"), rest))


def end_offsets(judge, cluster, topic):
    """Sum of the offsets at the ends of a topic's partitions; -1 where there is no such topic."""
    if topic not in [line.split()[0] for line in judge.ask("topics", cluster.address)]:
        return -1
    return sum(int(line.split()[1]) for line in judge.ask("ends", cluster.address, topic))


def java(source, *arguments):
    """The command that runs a program of scripts/judge."""
    options = ["-Xmx768m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]
    program = kafka("program", HERE / "judge" / source).splitlines()
    return ["java", *options, *program, *map(str, arguments)]


def filled(template, values):
    """A file made from one of perf/compare, with each {key} replaced."""
    text = (ROOT / "perf" / "compare" / template).read_text()
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    file = CACHE / f"compare-{template}"
    file.write_text(text)
    return str(file)


# --- processes ----------------------------------------------------------------------------------------------------------


def wait(process, patience_s):
    """The output of a process that has to succeed, and what it used, children of other kinds not counted."""
    timer = time.monotonic() + patience_s
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > timer:
            process.kill()
            os.wait4(process.pid, 0)
            sys.exit(f"the mirror did not end:\n{process.stderr.read().decode()[-4000:]}")
        time.sleep(0.05)
    out, log = process.stdout.read(), process.stderr.read()
    if process.returncode != 0:
        sys.exit(f"the mirror failed with exit code {process.returncode}:\n{log.decode()[-4000:]}")
    return out, usage


def end(process):
    """Asks it to end, and makes it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Mirror:
    """A mirror of one process or several: those whose cost counts, and what they need beside them."""

    def __init__(self):
        self.counted, self.beside = [], []

    def ended(self):
        """Whether one of them did."""
        return any(process.poll() is not None for process in [*self.counted, *self.beside])

    def cpu_seconds(self):
        return sum(cpu_seconds(process.pid) for process in self.counted)

    def peak_rss_mb(self):
        """The sum of each process's peak."""
        return sum(peak_rss_kb(process.pid) for process in self.counted) / 1e3

    def end(self):
        """The last that was started first."""
        for process in [*reversed(self.counted), *reversed(self.beside)]:
            end(process)


def peak_rss_kb(process_id):
    for line in pathlib.Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def cpu_seconds(process_id):
    fields = pathlib.Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def mirror(twinlog, source, target, topics, flags, secure=False):
    """What a mirror cost that brought everything over: a process of its own, on one core."""
    cpu_before = [cluster.cpu_seconds() for cluster in (source, target)]
    began = time.monotonic()
    process = subprocess.Popen(
        [twinlog, "mirror", *source.flags("source", secure), *target.flags("target", secure), "--topics", topics, *flags,
         "--until-caught-up", "--log-format", "json", "--cores", str(max(os.sched_getaffinity(0)))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, usage = wait(process, MIRROR_SECONDS_MAX)
    seconds = time.monotonic() - began
    of_source, of_target = (cluster.cpu_seconds() - before for cluster, before in zip((source, target), cpu_before))
    report = json.loads(out)["report"]
    moved = report["totals"]["bytes"]
    gigabytes = moved / 1e9
    return {
        "bytes": moved,
        "batches": report["totals"]["batches"],
        "cpu_s_per_gb": (usage.ru_utime + usage.ru_stime) / gigabytes,
        "mb_per_s": moved / 1e6 / seconds,
        "source_cpu_s_per_gb": of_source / gigabytes,
        "target_cpu_s_per_gb": of_target / gigabytes,
        "peak_rss_mb": usage.ru_maxrss / 1e3,
        "report": report,
    }


def scenario_under(command, scenario, run, results):
    """Runs one run of a scenario of scripts/bench, with the program that mirrors started by `command`: its output, and its line."""
    wrapper = CACHE / f"under-{os.getpid()}"
    quoted = " ".join(shlex.quote(str(word)) for word in [*command, twinlog()])
    wrapper.write_text(f'#!/bin/sh\ncase $1 in bench | mirror) exec {quoted} "$@" ;; esac\nexec {shlex.quote(twinlog())} "$@"\n')
    wrapper.chmod(0o755)
    results.unlink(missing_ok=True)
    try:
        subprocess.run([HERE / "bench", scenario, "--run", run, "--results", results], check=True,
                       env={**os.environ, "TWINLOG_BIN": str(wrapper)})
        return lines(results)[0]
    except subprocess.CalledProcessError:
        sys.exit(f"'scripts/bench {scenario} --run \"{run}\"' failed under {command[0]}")
    finally:
        wrapper.unlink()
        results.unlink(missing_ok=True)


# --- results ------------------------------------------------------------------------------------------------------------


def write(name, results, table):
    """perf/results/NAME.jsonl, one result a line, and NAME.md."""
    base = ROOT / "perf" / "results" / name
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    base.with_suffix(".md").write_text(table)
    print(table)


def where():
    """Commit and machine, for the head of a table."""
    return f"at commit {commit()} on {machine()}"


def commit():
    short = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    return short + (" with changes" if dirty else "")


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    load = os.getloadavg()[0]
    return (f"{len(os.sched_getaffinity(0))} cores of {model.group(1) if model else 'unknown'}, Linux {os.uname().release}, "
            f"load average {load:.1f} at the end")
