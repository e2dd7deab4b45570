//! All partitions on this broker, as the metadata asks for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    config::NodeConfig,
    partition::{Partition, PartitionContext},
    settings,
};
use crate::{
    base::{BrokerEpoch, NodeId, Switches, TopicId, TopicPartition, mark},
    controller::image::{MetadataDelta, MetadataImage, PartitionRegistration},
    replica::ActiveBrokers,
    rpc::Shutdown,
    runtime::clock,
    storage::{LogDirectory, Opened, StorageError},
    trace::Event,
};

/// How often silent producers are looked for, unless they expire sooner.
const PRODUCERS_CHECK: Duration = Duration::from_secs(600);

/// How many partitions are opened, led or closed at a time: what their files have to sync goes to the device together.
const AT_A_TIME: usize = 64;

/// Partitions by topic and index.
type ByTopic = BTreeMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;

/// The partitions of a broker.
pub struct Replicas {
    directory: LogDirectory,
    config: Arc<NodeConfig>,
    context: PartitionContext,
    partitions: Mutex<ByTopic>,
    /// Logs found at the start that the metadata has not claimed yet.
    loaded: tokio::sync::Mutex<BTreeMap<TopicPartition, Opened>>,
}

impl Replicas {
    /// The behaviour of this broker.
    pub fn switches(&self) -> Switches {
        self.context.switches
    }

    /// The logs in `directory`, with no role yet.
    ///
    /// # Errors
    /// A log that cannot be opened.
    pub async fn load(
        directory: LogDirectory,
        config: Arc<NodeConfig>,
        context: PartitionContext,
    ) -> Result<Self, StorageError> {
        let loaded = tokio::sync::Mutex::new(directory.load().await?);
        Ok(Self { directory, config, context, partitions: Mutex::default(), loaded })
    }

    /// The partition called `id`, if it is on this broker.
    pub fn find(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.lock().get(&id.topic)?.get(&id.partition).cloned()
    }

    /// All partitions on this broker.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn take_out(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let mut topics = self.lock();
        let partitions = topics.get_mut(&id.topic)?;
        let known = partitions.remove(&id.partition);
        if partitions.is_empty() {
            topics.remove(&id.topic);
        }
        known
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ByTopic> {
        self.partitions.lock().expect("no panic while the partitions are held")
    }

    /// Does what changed in the metadata: creates and deletes logs, leads and follows. Returns whom this broker
    /// follows now. A partition whose log fails is left out; the others go on.
    pub async fn apply(&self, image: &MetadataImage, delta: &MetadataDelta) -> BTreeSet<NodeId> {
        for (topic_id, partitions) in &delta.deleted {
            for id in partitions {
                self.delete(id, *topic_id).await;
            }
        }
        let active = image.brokers().filter(|broker| broker.is_active()).map(|broker| (broker.id, broker.epoch));
        let active: ActiveBrokers = Arc::new(active.collect());
        if delta.brokers {
            // A leader must not go on waiting for a follower that is fenced by these very records (KAFKA-15021).
            for partition in self.all() {
                partition.set_active(&active).await;
            }
        }
        let roles: Vec<_> = delta.partitions.iter().map(|id| self.give_role(id, image, &active)).collect();
        let leaders: Vec<NodeId> = stream::iter(roles).buffer_unordered(AT_A_TIME).collect().await;
        self.reconfigure(image, delta).await;
        leaders.into_iter().filter(|leader| *leader != NodeId::NONE).collect()
    }

    /// Gives a partition the role that the metadata says. Returns whom this broker follows in it now, if anyone.
    async fn give_role(&self, id: &TopicPartition, image: &MetadataImage, active: &ActiveBrokers) -> NodeId {
        let Some(registration) = image.partition(id) else { return NodeId::NONE };
        let topic_id = image.topic(&id.topic).expect("the partition's topic is in the image").id;
        if !registration.replicas.contains(&self.context.node) {
            self.leave(id, topic_id).await;
            return NodeId::NONE;
        }
        let leaves = image.broker(self.context.node).is_some_and(|known| known.in_controlled_shutdown);
        if leaves && !self.context.switches.leaving_brokers_step_down {
            return NodeId::NONE;
        }
        if let Err(error) = self.apply_one(id, topic_id, registration, image, active).await {
            tracing::error!(partition = %id, %error, "the partition is offline on this broker");
            self.context.tell_damage(id, &error);
            self.directory.failures().note(&error);
            self.take_out(id);
            return NodeId::NONE;
        }
        if registration.leader == self.context.node { NodeId::NONE } else { registration.leader }
    }

    async fn apply_one(
        &self,
        id: &TopicPartition,
        topic_id: TopicId,
        registration: &PartitionRegistration,
        image: &MetadataImage,
        active: &ActiveBrokers,
    ) -> Result<(), StorageError> {
        if self.find(id).is_some_and(|known| known.topic_id != topic_id) {
            self.delete(id, topic_id).await;
        }
        let partition = match self.find(id) {
            Some(partition) => partition,
            None => {
                let settings = settings::of_topic(&id.topic, image, &self.config, &self.context.switches);
                let opened = self.open(id, topic_id, &settings).await?;
                let context = self.context.clone();
                let partition =
                    Partition::new(id.clone(), topic_id, opened.log, opened.high_watermark, settings, context);
                self.lock().entry(id.topic.clone()).or_default().insert(id.partition, partition.clone());
                partition
            }
        };
        partition.apply(registration, active).await
    }

    /// The log of a partition: as found at the start, or new. One of a deleted topic with the same name goes.
    async fn open(
        &self,
        id: &TopicPartition,
        topic_id: TopicId,
        settings: &settings::TopicSettings,
    ) -> Result<Opened, StorageError> {
        let found = self.loaded.lock().await.remove(id);
        match found {
            Some(mut opened) if opened.topic_id == topic_id => {
                opened.log.reconfigure(settings.log.clone());
                return Ok(opened);
            }
            Some(stray) => {
                drop(stray.log);
                self.directory.delete(id, stray.topic_id).await?;
            }
            None => {}
        }
        self.directory.create(id, topic_id, settings.log.clone()).await
    }

    /// Others hold the partition: its log goes, also one from before this process. One of a topic of the same name is
    /// left alone.
    async fn leave(&self, id: &TopicPartition, topic_id: TopicId) {
        let is_loaded = self.loaded.lock().await.get(id).is_some_and(|found| found.topic_id == topic_id);
        if is_loaded || self.find(id).is_some() {
            mark::reach("replica_left");
            self.context.tracer.milestone(Event::ReplicaLeft { partition: id.clone() });
            self.delete(id, topic_id).await;
        }
    }

    async fn delete(&self, id: &TopicPartition, topic_id: TopicId) {
        let known = self.take_out(id);
        if let Some(partition) = known {
            partition.abandon().await;
        } else if self.loaded.lock().await.remove(id).is_none() {
            return;
        }
        if let Err(error) = self.directory.delete(id, topic_id).await {
            tracing::error!(partition = %id, %error, "a deleted partition's log could not be removed");
            self.directory.failures().note(&error);
        }
    }

    async fn reconfigure(&self, image: &MetadataImage, delta: &MetadataDelta) {
        if delta.configs.is_empty() && !delta.broker_configs {
            return;
        }
        for partition in self.all() {
            let topic = &partition.id.topic;
            if delta.broker_configs || delta.configs.contains(&**topic) {
                let settings = settings::of_topic(topic, image, &self.config, &self.context.switches);
                partition.configure(settings).await;
            }
        }
    }

    /// Looks for lagging followers, every half of `replica.lag.time.max.ms`.
    pub async fn watch_lag(self: Arc<Self>, shutdown: Shutdown) {
        while shutdown.or(clock::sleep(self.context.lag_max / 2)).await.is_some() {
            for partition in self.all() {
                partition.check_lag().await;
            }
        }
    }

    /// Forgets silent producers, every ten minutes, or as often as they expire where that is sooner; and deletes old
    /// segments, every `log.retention.check.interval.ms`.
    pub async fn watch_age(self: Arc<Self>, shutdown: Shutdown) {
        let of_producers = self.config.producer_id_expiration.clamp(Duration::from_secs(1), PRODUCERS_CHECK);
        let of_segments = self.config.retention_check_interval;
        let (mut producers, mut segments) = (clock::now() + of_producers, clock::now() + of_segments);
        while shutdown.or(clock::sleep_until(producers.min(segments))).await.is_some() {
            let now = clock::now();
            if now >= producers {
                producers = now + of_producers;
                for partition in self.all() {
                    partition.expire_producers().await;
                }
            }
            if now >= segments {
                segments = now + of_segments;
                for partition in self.all() {
                    partition.delete_old_segments().await;
                }
            }
        }
    }

    /// Writes the checkpoints, each at its interval, until `shutdown`.
    pub async fn write_checkpoints(self: Arc<Self>, shutdown: Shutdown) {
        let interval = self.config.high_watermark_checkpoint_interval.max(Duration::from_millis(1));
        let mut next_logs = clock::now() + self.config.recovery_point_checkpoint_interval;
        while shutdown.or(clock::sleep(interval)).await.is_some() {
            let logs_too = clock::now() >= next_logs;
            if logs_too {
                next_logs = clock::now() + self.config.recovery_point_checkpoint_interval;
            }
            if let Err(error) = self.checkpoint(logs_too).await {
                tracing::error!(%error, "the checkpoints could not be written");
                self.directory.failures().note(&error);
            }
        }
    }

    async fn checkpoint(&self, logs_too: bool) -> Result<(), StorageError> {
        let (mut high_watermarks, mut recovery_points, mut starts) =
            <(BTreeMap<_, _>, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        for partition in self.all() {
            let (high_watermark, recovery_point, start) = partition.checkpoints().await;
            high_watermarks.insert(partition.id.clone(), high_watermark);
            recovery_points.insert(partition.id.clone(), recovery_point);
            starts.insert(partition.id.clone(), start);
        }
        self.directory.checkpoint_high_watermarks(&high_watermarks).await?;
        if logs_too {
            self.directory.checkpoint_logs(&recovery_points, &starts).await?;
        }
        Ok(())
    }

    /// Closes every log, writes the checkpoints and the marker of a clean stop.
    ///
    /// # Errors
    /// The disk failed; the next start will check the logs.
    pub async fn close(&self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        let closing = stream::iter(self.all().into_iter().map(Ok));
        closing.try_for_each_concurrent(AT_A_TIME, async |partition| partition.close().await).await?;
        // Those that the metadata has not given a role.
        for opened in self.loaded.lock().await.values_mut() {
            opened.log.close().await?;
        }
        self.checkpoint(true).await?;
        self.directory.mark_clean(broker_epoch).await
    }
}
