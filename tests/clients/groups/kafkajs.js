// A member that is kafkajs. Arguments: addresses, topic, group, protocol (classic), instance id (there is none in kafkajs).
const { Kafka, logLevel } = require('kafkajs')
const [addresses, topic, group] = process.argv.slice(2)

const log = (...words) => require('fs').writeSync(1, [Date.now() * 1000, ...words].join(' ') + '\n')
let owned = []
const gone = word => {
  if (owned.length) log(word, ...owned)
  owned = []
}

const toStandardError = () => ({ label, log: entry }) => console.error(entry.timestamp, label, entry.message, entry.error || '')
const kafka = new Kafka({ brokers: addresses.split(','), logLevel: logLevel.WARN, logCreator: toStandardError })
// The session time-out is its own default: it tries for some 10 s to commit at the coordinator that it has joined at, and
// looks for another only when a heartbeat after that has failed.
const consumer = kafka.consumer({ groupId: group, heartbeatInterval: 1000, maxWaitTimeInMs: 200 })
consumer.on(consumer.events.REBALANCING, () => gone('revoked'))
consumer.on(consumer.events.CRASH, () => gone('lost'))
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  gone('lost')
  owned = payload.memberAssignment[topic] || []
  log('assigned', ...owned)
})

const eachBatch = async ({ batch, resolveOffset, heartbeat, isStale }) => {
  if (isStale()) return
  const lines = batch.messages.map(({ offset, value }) => [Date.now() * 1000, 'record', batch.partition, offset, value].join(' '))
  require('fs').writeSync(1, lines.join('\n') + '\n')
  resolveOffset(batch.lastOffset())
  const next = String(BigInt(batch.lastOffset()) + 1n)
  log('committing', `${batch.partition}:${next}`)
  try {
    await consumer.commitOffsets([{ topic, partition: batch.partition, offset: next }])
    log('commit', `${batch.partition}:${next}`)
  } catch (error) {
    console.error(String(error))
  }
  await heartbeat()
}

process.on('SIGTERM', async () => {
  await consumer.disconnect()
  log('left')
  process.exit(0)
})
consumer
  .connect()
  .then(() => consumer.subscribe({ topics: [topic], fromBeginning: true }))
  .then(() => consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch }))
