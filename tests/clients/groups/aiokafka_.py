#!/usr/bin/env python3
"""A member that is aiokafka. Arguments: addresses, topic, group, protocol, instance id or -."""

import asyncio
import pathlib
import signal
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import checks

checks.in_environment("aiokafka", "aiokafka")

import aiokafka
from aiokafka.errors import KafkaError

from check import Log

log = Log()


class Listener(aiokafka.ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned):
        self.happened("assigned", assigned)

    async def on_partitions_revoked(self, revoked):
        self.happened("revoked", revoked)

    def happened(self, word, partitions):
        log(word, *(one.partition for one in partitions))
        log.flush()


async def main(addresses, topic, group, _, instance):
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=addresses,
        group_id=group,
        group_instance_id=None if instance == "-" else instance,
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not ending.is_set():
        done = {}
        for _, messages in (await consumer.getmany(timeout_ms=200)).items():
            for message in messages:
                log("record", message.partition, message.offset, int(message.value))
                done[message.partition] = message.offset + 1
        if done:
            log.offsets("committing", done)
            try:
                await consumer.commit({aiokafka.TopicPartition(topic, one): at for one, at in done.items()})
                log.offsets("commit", done)
            except KafkaError as error:
                print(repr(error), file=sys.stderr)
    await consumer.stop()
    log("left")
    log.flush()


if sys.argv[1:] == ["--version"]:
    print("aiokafka", aiokafka.__version__)
else:
    asyncio.run(main(*sys.argv[1:]))
