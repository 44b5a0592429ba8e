"""uReplicator and Brooklin for scripts/compare: from distributions that the user has, with a ZooKeeper of their own.

Everything is started anew for each measurement, the ZooKeeper with empty data, so nothing is known of the one before.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import measure

# On its class path is a ZooKeeper.
ZOOKEEPER_KAFKA = "2.8.2"
ZOOKEEPER_PORT, REST_PORT = 31893, 32893
START_S = 120
POLL_S = 0.2
HOW_TO_GET = {
    "ureplicator": "a checkout of github.com/uber/uReplicator after 'mvn package -DskipTests'",
    "brooklin": "a release of github.com/linkedin/brooklin unpacked, or what './gradlew releaseTarGz' makes in a checkout",
}
MIRRORS = list(HOW_TO_GET)
# Whatever proxies the environment names: all of it is on this machine.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start(name, home, values):
    """Starts a mirror that has seen nothing yet, and tells it of the topic."""
    mirror = measure.Mirror()
    try:
        mirror.beside.append(zookeeper())
        addresses = {"zookeeper": f"127.0.0.1:{ZOOKEEPER_PORT}", "port": str(REST_PORT)}
        STARTS[name](mirror, pathlib.Path(home).resolve(), {**values, **addresses})
    except BaseException:
        mirror.end()
        raise
    return mirror


# --- uReplicator --------------------------------------------------------------------------------------------------------


def ureplicator(mirror, home, values):
    """A controller and a worker, not federated, as docker-entrypoint.sh of the distribution starts them."""
    zookeeper = ["-zookeeper", values["zookeeper"]]
    mirror.counted.append(ureplicator_part(
        home, "Controller", "com.uber.stream.kafka.mirrormaker.controller.ControllerStarter", "-enableFederated", "false", "-mode",
        "auto", *zookeeper, "-helixClusterName", "compare", "-instanceId", "controller", "-port", values["port"],
        # Of this form, or its metrics are not there and it fails.
        "-env", "compare.compare", "-backUpToGit", "false", "-localBackupFilePath", measure.CACHE / "compare-ureplicator-backup"))
    url = f"http://127.0.0.1:{values['port']}"
    wait_for(mirror, "the controller of uReplicator", lambda: answer(f"{url}/instances"))
    files = {part: measure.filled(f"ureplicator.{part}.properties", values) for part in ("consumer", "producer", "helix")}
    mirror.counted.append(ureplicator_part(
        home, "Worker", "com.uber.stream.ureplicator.worker.WorkerStarter", "-federated_enabled", "false",
        *[word for part, file in files.items() for word in (f"-{part}_config", file)]))
    wait_for(mirror, "the worker of uReplicator", lambda: json.loads(answer(f"{url}/instances") or "{}").get("allInstances"))
    wait_for(mirror, "uReplicator's topic",
             lambda: answer(f"{url}/topics", {"topic": values["topic"], "numPartitions": int(values["partitions"])}))


def ureplicator_part(home, part, main, *arguments):
    jars = list(home.glob(f"uReplicator-{part}/target/uReplicator-{part}-*-jar-with-dependencies.jar"))
    if not jars:
        sys.exit(f"--ureplicator-home: {home} has no uReplicator-{part}/target/uReplicator-{part}-*-jar-with-dependencies.jar")
    # The heap is that of its pom.xml.
    return launch(f"ureplicator-{part.lower()}", "java", "-server", "-Xms1024m", "-Xmx1024m",
                  f"-Dlog4j.configuration=file:{home}/config/tools-log4j.properties", "-cp", f"{zookeeper_client()}:{jars[0]}",
                  main, *arguments)


# --- Brooklin -----------------------------------------------------------------------------------------------------------


def brooklin(mirror, home, values):
    """One server, and a datastream that keeps the partitions."""
    script = home / "bin" / "brooklin-server-start.sh"
    if not script.exists():
        sys.exit(f"--brooklin-home: there is no {script}")
    mirror.counted.append(launch(
        "brooklin", "bash", script, measure.filled("brooklin.properties", values), CLASSPATH=zookeeper_client(),
        LOG_DIR=str(measure.CACHE / "compare-brooklin"),
        # Not empty: without it come options for logging that Java has not had since 9.
        GC_LOG_OPTS=" "))
    url = f"http://127.0.0.1:{values['port']}/datastream"
    wait_for(mirror, "the server of Brooklin", lambda: answer(url))
    stream = {
        "name": values["group"],
        "connectorName": "kafkaMirroringConnector",
        "transportProviderName": "kafkaTransportProvider",
        "source": {"connectionString": f"kafka://{values['source']}/^{values['topic']}$"},
        "destination": {},
        "metadata": {"owner": "compare", "system.reuseExistingDestination": "false",
                     "system.destination.identityPartitioningEnabled": "true"},
    }
    wait_for(mirror, "Brooklin's datastream", lambda: answer(url, stream) is not None)


STARTS = {"ureplicator": ureplicator, "brooklin": brooklin}


# --- what they need -----------------------------------------------------------------------------------------------------


def zookeeper():
    data = measure.CACHE / "compare-zookeeper"
    shutil.rmtree(data, ignore_errors=True)
    file = measure.filled("zookeeper.properties", {"data": str(data), "port": str(ZOOKEEPER_PORT)})
    return launch("zookeeper", "java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", measure.kafka("classpath", ZOOKEEPER_KAFKA).strip(),
                  "org.apache.zookeeper.server.quorum.QuorumPeerMain", file)


def zookeeper_client():
    """The class path of a client that goes before the mirror's own, which resolves no address on Java 14 and later."""
    directory = pathlib.Path(measure.kafka("classpath", ZOOKEEPER_KAFKA).strip()).parent
    return ":".join(map(str, sorted(directory.glob("zookeeper*.jar"))))


def launch(name, *command, **variables):
    with open(measure.CACHE / f"compare-{name}.log", "w") as log:
        return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env={**os.environ, **variables})


def answer(url, content=None):
    """What it answers to a GET, or to a POST of JSON; None while it does not."""
    data = None if content is None else json.dumps(content).encode()
    try:
        with HTTP.open(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=START_S) as response:
            return response.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def wait_for(mirror, what, is_there):
    until = time.monotonic() + START_S
    while not is_there():
        if mirror.ended() or time.monotonic() > until:
            sys.exit(f"{what} did not come up; the logs are {measure.CACHE}/compare-*.log")
        time.sleep(POLL_S)
