#!/usr/bin/env python3
"""A member that is librdkafka, through confluent-kafka. Arguments: addresses, topic, group, protocol, instance id or -."""

import pathlib
import signal
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import checks

checks.in_environment("librdkafka", "confluent-kafka")

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, TopicPartition

from check import Log

if sys.argv[1:] == ["--version"]:
    print("librdkafka", confluent_kafka.libversion()[0])
    sys.exit()
addresses, topic, group, protocol, instance = sys.argv[1:]
settings = {
    "bootstrap.servers": addresses,
    "group.id": group,
    "group.protocol": protocol,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
}
if protocol == "classic":
    settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
if instance != "-":
    settings["group.instance.id"] = instance
log = Log()
going = True
done = {}  # what is not committed yet


def stop(*_):
    global going
    going = False


def commit():
    if not done:
        return
    log.offsets("committing", done)
    try:
        consumer.commit(offsets=[TopicPartition(topic, one, at) for one, at in done.items()], asynchronous=False)
        log.offsets("commit", done)
    except KafkaException as error:
        print(error, file=sys.stderr)
    done.clear()


def callback(word):
    def happened(_, partitions):
        if word == "revoked":
            commit()
        log(word, *(one.partition for one in partitions))
        log.flush()

    return happened


signal.signal(signal.SIGTERM, stop)
consumer = Consumer(settings)
consumer.subscribe([topic], on_assign=callback("assigned"), on_revoke=callback("revoked"), on_lost=callback("lost"))
last = time.monotonic()
while going:
    message = consumer.poll(0.1)
    if message and message.error():
        print(message.error(), file=sys.stderr)
    elif message:
        log("record", message.partition(), message.offset(), int(message.value()))
        done[message.partition()] = message.offset() + 1
    if time.monotonic() > last + 0.2:
        commit()
        last = time.monotonic()
commit()
consumer.close()
log("left")
