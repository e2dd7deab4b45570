#!/usr/bin/env python3
"""A member that is kafka-python. Arguments: addresses, topic, group, protocol, instance id or -."""

import pathlib
import signal
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import checks

checks.in_environment("kafka-python", "kafka-python", "lz4", "python-snappy", "zstandard", "crc32c")

import kafka
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from check import Log

if sys.argv[1:] == ["--version"]:
    print("kafka-python", kafka.__version__)
    sys.exit()
addresses, topic, group, _, instance = sys.argv[1:]
log = Log()
going = True


def stop(*_):
    global going
    going = False


class Listener(kafka.ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        self.happened("assigned", assigned)

    def on_partitions_revoked(self, revoked):
        self.happened("revoked", revoked)

    def on_partitions_lost(self, lost):
        self.happened("lost", lost)

    def happened(self, word, partitions):
        log(word, *(one.partition for one in partitions))
        log.flush()


signal.signal(signal.SIGTERM, stop)
consumer = kafka.KafkaConsumer(
    bootstrap_servers=addresses.split(","),
    group_id=group,
    group_instance_id=None if instance == "-" else instance,
    session_timeout_ms=6000,
    heartbeat_interval_ms=1000,
    enable_auto_commit=False,
    auto_offset_reset="earliest",
)
consumer.subscribe([topic], listener=Listener())
while going:
    done = {}
    for _, messages in consumer.poll(timeout_ms=200).items():
        for message in messages:
            log("record", message.partition, message.offset, int(message.value))
            done[message.partition] = message.offset + 1
    if done:
        log.offsets("committing", done)
        try:
            consumer.commit({TopicPartition(topic, one): OffsetAndMetadata(at, "", -1) for one, at in done.items()})
            log.offsets("commit", done)
        except KafkaError as error:
            print(repr(error), file=sys.stderr)
consumer.close()
log("left")
log.flush()
