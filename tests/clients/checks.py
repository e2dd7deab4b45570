"""What a client library has to be able to do with Highwater: a table of checks, run by each library's own script.

A script brings an adapter for its library and calls `run`. Arguments of the script: the address of a node alone, and the
folder of a cluster that `tests/clients/highwater` started. Exit code 77 means skipped.

An adapter is made from a list of addresses and offers
    create_topic(name, partitions, replication, configs)   TopicExists if there is one of that name
    delete_topic(name), topics() -> names, leader(topic, partition) -> broker id or None
    producer(acks, codec, idempotent) -> with send(record) and flush() -> offset of each record, None with acks=0
    read(topic, partition, offset) -> iterator of records, without end
    offset_at(topic, partition, timestamp_ms) -> offset or None; ends(topic, partition) -> (first, next)
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_S = 60


class TopicExists(Exception):
    """A topic of that name is there already."""


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    value: bytes | None
    key: bytes | None = None
    timestamp_ms: int = 0
    headers: tuple = field(default=())


def in_environment(name, *packages):
    """Goes on in a virtual environment of its own that has `packages`; made once, below target/clients."""
    home = HERE.parent.parent / "target" / "clients" / f"{name}-environment"
    if pathlib.Path(sys.prefix) == home:
        return
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        make = [sys.executable, "-m", "venv", "--clear", str(home)]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", *packages]
        for command in (make, install):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
                print(f"skipped: {' '.join(packages)} cannot be installed: {last}", file=sys.stderr)
                sys.exit(77)
        complete.touch()
    os.execv(python, [str(python), "-B", *sys.argv])


def same(what, expected, found):
    if expected != found:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def same_records(what, expected, found):
    same(f"{what}: number of records", len(expected), len(found))
    for offset, (one, other) in enumerate(zip(expected, found)):
        same(f"{what}, offset {offset}", one, other)


def until(what, happened):
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


class Highwater:
    """The processes to talk to."""

    def __init__(self, node, cluster_folder):
        self.node = [node]
        self.folder = pathlib.Path(cluster_folder)
        self.cluster = (self.folder / "bootstrap").read_text().strip().split(",")

    def _control(self, command, broker):
        subprocess.run([HERE / "highwater", command, self.folder, str(broker)], check=True)

    def kill(self, broker):
        self._control("kill", broker)

    def restart(self, broker):
        self._control("restart", broker)


def a_topic_is_made_and_goes(client, replication):
    client.create_topic("a-topic", 2, replication, {"min.insync.replicas": "1"})
    try:
        client.create_topic("a-topic", 2, replication, {})
        raise AssertionError("the topic was made twice")
    except TopicExists:
        pass
    # A broker hears of it a moment after the controller has answered.
    until("the topic is listed", lambda: "a-topic" in client.topics())
    client.delete_topic("a-topic")
    until("the topic is gone", lambda: "a-topic" not in client.topics())


def records_come_back_as_they_were_sent(client, replication):
    for acks, idempotent in [(0, False), (1, False), ("all", False), ("all", True)]:
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
            topic = f"back-{acks}-{codec}-{'idempotent' if idempotent else 'plain'}"
            client.create_topic(topic, 2, replication, {})
            # Until each leader knows that it leads: a record sent with acks=0 before that is lost.
            same(f"{topic}: ends of empty partitions", [(0, 0)] * 2, [client.ends(topic, partition) for partition in (0, 1)])
            sent = [[], []]
            with_headers = (("origin", b"test"), ("empty", b""))
            for number in range(300):
                partition = number % 2
                value = [b"", b"short", bytes(range(256)) * 8, f"number {number}".encode(), None][number % 5]
                headers = with_headers if number % 7 == 0 else ()
                # Not every library sends a record that has neither key nor value.
                key = None if number % 3 == 0 and value is not None else f"key-{number}".encode()
                sent[partition].append(Record(topic, partition, value, key, 1_700_000_000_000 + number, headers))
            producer = client.producer(acks, codec, idempotent)
            for pair in zip(*sent):
                for record in pair:
                    producer.send(record)
            offsets = producer.flush()
            if acks != 0:
                same(f"{topic}: offsets", [number // 2 for number in range(300)], offsets)
            for partition in (0, 1):
                back = client.read(topic, partition, 0)
                same_records(f"{topic}-{partition}", sent[partition], [next(back) for _ in sent[partition]])
                same(f"{topic}-{partition}: ends", (0, 150), client.ends(topic, partition))


def offsets_are_found_by_time(client, replication):
    client.create_topic("by-time", 1, replication, {"segment.bytes": "1048576"})
    producer = client.producer("all", "none", False)
    base = 1_700_000_000_000
    for number in range(3000):
        producer.send(Record("by-time", 0, bytes(1000), None, base + 10 * number))
    producer.flush()
    for timestamp_ms, offset in [(0, 0), (base, 0), (base + 1, 1), (base + 14_990, 1499), (base + 14_995, 1500), (base + 29_990, 2999), (base + 29_991, None)]:
        same(f"offset at {timestamp_ms}", offset, client.offset_at("by-time", 0, timestamp_ms))
    back = client.read("by-time", 0, 1500)
    same("record at 1500", base + 15_000, next(back).timestamp_ms)


def a_large_record_passes(client, replication):
    client.create_topic("large", 1, replication, {})
    large = Record("large", 0, os.urandom(950_000), b"large", 1_700_000_000_000)
    producer = client.producer("all", "none", True)
    producer.send(large)
    same("offset", [0], producer.flush())
    same("what came back", large, next(client.read("large", 0, 0)))


EVERYWHERE = [
    a_topic_is_made_and_goes,
    records_come_back_as_they_were_sent,
    offsets_are_found_by_time,
    a_large_record_passes,
]


def a_client_survives_the_death_of_its_leader(client, highwater):
    client.create_topic("survivor", 1, 3, {"min.insync.replicas": "2"})
    back = client.read("survivor", 0, 0)
    sent = []

    def send():
        producer = client.producer("all", "lz4", True)
        for number in range(2000):
            sent.append(Record("survivor", 0, f"number {number}".encode(), None, 1_700_000_000_000 + number))
            producer.send(sent[-1])
            time.sleep(0.002)
        return producer.flush()

    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send)
        read = [next(back) for _ in range(200)]
        leader = client.leader("survivor", 0)
        highwater.kill(leader)
        # Long enough for an election, unless it was the controller's process.
        time.sleep(3)
        highwater.restart(leader)
        offsets = sending.result()
    same("offsets", list(range(2000)), offsets)
    read += [next(back) for _ in range(1800)]
    same_records("survivor", sent, read)
    same("ends", (0, 2000), client.ends("survivor", 0))


def run(adapter):
    """Every check, with a client of a node alone and with one of the cluster."""
    highwater = Highwater(*sys.argv[1:3])
    checks = [(f"{check.__name__} ({where})", check, addresses, replication)
              for where, addresses, replication in [("a node", highwater.node, 1), ("a cluster", highwater.cluster, 3)]
              for check in EVERYWHERE]
    checks.append((a_client_survives_the_death_of_its_leader.__name__, a_client_survives_the_death_of_its_leader, highwater.cluster, highwater))
    failed = 0
    for name, check, addresses, argument in checks:
        begun = time.monotonic()
        try:
            check(adapter(addresses), argument)
            outcome = "ok"
        except Exception as error:  # a check may fail in any way; the others still run
            outcome, failed = f"FAILED: {type(error).__name__}: {error}", failed + 1
        print(f"  {name.replace('_', ' ')}: {outcome} ({time.monotonic() - begun:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)
