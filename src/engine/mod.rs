//! Runs a resolved scenario by seed: cluster, story, healing, audit, judgement.
//!
//! | phase | ends when |
//! |---|---|
//! | set-up | every broker serves, every topic has its leaders and full ISRs |
//! | story | every step fired or one never will, and the producers know what became of their records |
//! | healing | faults end, processes run again; every partition is whole, producers and consumers are done |
//! | audit | a new consumer has read every partition from begin to end |
//!
//! Steps fire inside the event that makes them true, or at their time. What is waited for and does not come within the
//! deadline makes the run unfinished, with what was missing.

mod applications;
mod deed;
mod members;
mod recorder;
mod rot;
mod script;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

pub use recorder::{Carried, Finished, Keep, SCENARIO};

use self::{
    applications::{ADMIN, administrate, audit, audit_groups, consume, produce},
    deed::Order,
    members::consume_in_group,
    recorder::Recorder,
};
use crate::{
    base::{NodeId, Switches, TopicId, TopicPartition},
    broker::{
        config::NodeConfig,
        node::{self, NodeError, NodeOptions, Told},
    },
    check::AUDIT_NODE,
    rpc::Shutdown,
    runtime::{
        clock,
        disk::Disk,
        process,
        sim::{World, WorldConfig},
        task,
    },
    scenario::{resolve::Resolved, view::View},
    storage::{MetaProperties, StorageError},
    trace::{Event, StopKind},
};

/// How long producers may go on after the last step before everything is healed.
const PRODUCERS_FINISH: Duration = Duration::from_secs(5);
/// How long the cluster may take to be whole after healing.
const SETTLE: Duration = Duration::from_secs(60);
/// How long a consumer may take to notice that what it has read was cut off.
const NOTICE: Duration = Duration::from_secs(5);
/// How long groups that have come to rest are watched.
const REST: Duration = Duration::from_secs(1);
/// How long the audit may take.
const AUDIT: Duration = Duration::from_secs(30);

/// Runs a scenario. Once a process.
///
/// # Panics
/// In a process that has run one already; when an invariant of the code under test is broken.
pub fn run(resolved: &Resolved, seed: u64, keep: Keep) -> Finished {
    let (recorder, orders) = Recorder::new(resolved, keep);
    let deadline = resolved.scenario.deadline;
    let config = WorldConfig { seed, time_limit: deadline * 2 + Duration::from_secs(600) };
    World::run(&config, recorder.clone(), |world| async move {
        recorder.set_world(world.clone());
        let stage = Stage { resolved: resolved.clone(), recorder: recorder.clone(), world };
        let whole = stage.play(orders);
        let missing = clock::timeout(deadline, whole)
            .await
            .unwrap_or_else(|_| Missing::unfinished(format!("the deadline of {} s passed", deadline.as_secs())));
        recorder.finish(missing)
    })
}

/// What was waited for at the end of a run and did not come.
#[derive(Debug, Default)]
struct Missing {
    /// Why the run has no end.
    unfinished: Option<String>,
    /// What the cluster lacked after healing.
    unsettled: Option<String>,
}

impl Missing {
    fn unfinished(why: String) -> Self {
        Self { unfinished: Some(why), unsettled: None }
    }
}

struct Stage {
    resolved: Resolved,
    recorder: Arc<Recorder>,
    world: World,
}

impl Stage {
    async fn play(&self, orders: tokio::sync::mpsc::UnboundedReceiver<Order>) -> Missing {
        self.start_nodes();
        let serving = |view: &View| (!view.brokers_serve()).then(|| "a broker does not serve".to_owned());
        if let Some(missing) = self.wait_for(SETTLE, serving).await {
            return Missing::unfinished(format!("the cluster did not start: {missing}"));
        }
        let (bootstrap, topics) = (self.bootstrap(), self.resolved.scenario.topics.clone());
        let (orders, recorder) = (Arc::new(Mutex::new(Some(orders))), self.recorder.clone());
        self.world
            .add_host(ADMIN, move || administrate(bootstrap.clone(), topics.clone(), orders.clone(), recorder.clone()));
        if let Some(missing) = self.wait_for(SETTLE, View::unsettled).await {
            return Missing::unfinished(format!("the topics were not created: {missing}"));
        }
        self.start_clients();
        self.recorder.begin();
        self.tell().await;
        let _ = self.wait_for(PRODUCERS_FINISH, |view| self.unfinished_producer(view)).await;
        let leave_broken = self.resolved.scenario.leave_broken;
        let healed = if leave_broken { Missing::default() } else { self.heal().await };
        let bootstrap = self.bootstrap();
        let partitions: Vec<TopicPartition> = self.recorder.look(|view| view.standing().cloned().collect());
        let groups = self.resolved.plan.groups.clone();
        self.world.add_host(AUDIT_NODE, move || {
            let (bootstrap, partitions, groups) = (bootstrap.clone(), partitions.clone(), groups.clone());
            async move {
                audit_groups(&bootstrap, &groups).await;
                audit(bootstrap, partitions).await;
            }
        });
        let unaudited = match self.wait_audited(View::unaudited_group).await {
            None => self.wait_audited(View::unaudited).await,
            missing => missing,
        };
        if !leave_broken {
            // What was under way when the audit began is for consumers too.
            self.consumers_read_on().await;
        }
        let unfinished = healed.unfinished.or(unaudited.filter(|_| !leave_broken));
        Missing { unfinished, ..healed }
    }

    /// Waits until `missing` names nothing, at most for `limit`; returns what it names at last.
    async fn wait_for(&self, limit: Duration, missing: impl Fn(&View) -> Option<String>) -> Option<String> {
        let late = clock::sleep(limit);
        tokio::pin!(late);
        loop {
            let happened = self.recorder.happened.notified();
            let now_missing = self.recorder.look(&missing)?;
            tokio::select! {
                biased;
                () = happened => {}
                () = &mut late => return Some(now_missing),
            }
        }
    }

    /// Lets the steps fire that wait for a time, and gives up those that wait too long.
    async fn tell(&self) {
        while !self.recorder.story_is_over() {
            let turned = self.recorder.turned.notified();
            match self.recorder.tick() {
                Some(next) if next > clock::now() => {
                    let _ = clock::timeout(next.since(clock::now()), turned).await;
                }
                Some(_) => {}
                None if self.recorder.story_is_over() => {}
                None => turned.await,
            }
        }
    }

    /// Ends every fault and waits until everything is well.
    async fn heal(&self) -> Missing {
        self.recorder.report(Event::SettleBegan);
        self.recorder.heal_all();
        self.recorder.hosts().iter().for_each(|name| self.world.resume(name));
        self.restart_stopped();
        // A clean stop takes its time: who is leaving still has to leave before it can be started again.
        let members = self.resolved.members.iter().map(|(name, ..)| name);
        let nodes = self.resolved.nodes.keys().chain(members);
        let leaving = |_: &View| nodes.clone().find(|name| self.world.is_stopping(name)).cloned();
        let _ = self.wait_for(SETTLE, leaving).await;
        self.restart_stopped();
        let unfinished = self.wait_healed(SETTLE, |view| self.unfinished_producer(view)).await;
        let undone = |view: &View| self.recorder.unfinished_order().or_else(|| view.unsettled());
        let unsettled = self.wait_healed(SETTLE, undone).await;
        if unsettled.is_none() {
            self.groups_come_to_rest().await;
            self.recorder.report(Event::Settled);
        }
        self.consumers_read_on().await;
        Missing { unfinished, unsettled }
    }

    /// As [`Stage::wait_for`], after healing. A process that had found its disk broken just before may still halt: it is
    /// started again. Where a disk has damaged a log, the operator lets the replica be copied anew.
    async fn wait_healed(&self, limit: Duration, missing: impl Fn(&View) -> Option<String>) -> Option<String> {
        let until = clock::now() + limit;
        let is_well = |view: &View| view.stopped().is_empty() && view.damaged_by_disks().is_empty();
        for _ in &self.resolved.nodes {
            let or_unwell = |view: &View| missing(view).filter(|_| is_well(view));
            let still_missing = self.wait_for(until.since(clock::now()), or_unwell).await;
            if self.recorder.look(is_well) {
                return still_missing;
            }
            self.remove_damaged_logs();
            self.restart_stopped();
        }
        self.wait_for(until.since(clock::now()), missing).await
    }

    /// What nobody had read before, the audit may find to be damaged.
    async fn wait_audited(&self, missing: impl Fn(&View) -> Option<String>) -> Option<String> {
        match self.resolved.scenario.leave_broken {
            true => self.wait_for(AUDIT, missing).await,
            false => self.wait_healed(AUDIT, missing).await,
        }
    }

    fn remove_damaged_logs(&self) {
        for (name, partition) in self.recorder.look(View::damaged_by_disks) {
            self.world.crash(&name, StopKind::Kill);
            let log_dir = &self.resolved.nodes[&*name].log_dir;
            self.world.remove_folder(&name, &format!("{log_dir}/{partition}"));
            self.world.report(&name, None, Event::DamagedLogRemoved { partition });
        }
    }

    /// Waits until no group rebalances and each partition belongs to one member, and until that has lasted for a while.
    /// Whether they came to it is a claim, judged from the history.
    async fn groups_come_to_rest(&self) {
        let groups = &self.resolved.plan.groups;
        let until = clock::now() + SETTLE;
        while !groups.is_empty() {
            let unrest = |view: &View| view.rebalancing().or_else(|| view.misowned(groups));
            let calm = |view: &View| unrest(view).is_none().then(|| "it stays so".to_owned());
            let restless = self.wait_for(until.since(clock::now()), unrest).await;
            if restless.is_some() || self.wait_for(REST, calm).await.is_some() {
                break;
            }
        }
    }

    /// Waits until every consumer has read what there is. Whether they reached the end is a claim, judged from the
    /// history.
    async fn consumers_read_on(&self) {
        let consumers: Vec<(String, String)> = self
            .resolved
            .consumers
            .iter()
            .map(|(name, _, reading)| (name.clone(), reading.topic.value.clone()))
            .collect();
        let _ = self.wait_for(NOTICE, |view| view.beyond(&consumers)).await;
        let _ = self.wait_for(SETTLE, |view| view.unread(&consumers)).await;
        let groups = &self.resolved.plan.groups;
        let busy = |view: &View| view.uncommitted(groups).or_else(|| view.unprocessed());
        let _ = self.wait_for(SETTLE, busy).await;
        // Who was restarted joins meanwhile.
        self.groups_come_to_rest().await;
    }

    fn unfinished_producer(&self, view: &View) -> Option<String> {
        let producers = self.resolved.producers.iter();
        view.unfinished_producer(producers.map(|(name, _, sending)| (&**name, sending.count, &*sending.topic.value)))
    }

    fn restart_stopped(&self) {
        for name in self.recorder.look(View::stopped) {
            self.world.restart(&name);
        }
        for (name, ..) in &self.resolved.members {
            if !self.recorder.look(|view| view.is_running(name)) {
                self.world.restart(name);
            }
        }
    }

    fn bootstrap(&self) -> Vec<String> {
        self.resolved.cast.brokers.iter().map(|(name, _)| format!("{name}:9092")).collect()
    }

    fn start_nodes(&self) {
        for (name, config) in &self.resolved.nodes {
            let (host, config, switches) = (name.clone(), config.clone(), self.resolved.switches);
            let (recorder, told) = (self.recorder.clone(), Told::nothing());
            self.world
                .add_host(name, move || serve(host.clone(), config.clone(), switches, recorder.clone(), told.clone()));
        }
    }

    fn start_clients(&self) {
        for (name, config, sending) in &self.resolved.producers {
            let (host, config, sending, bootstrap) = (name.clone(), config.clone(), sending.clone(), self.bootstrap());
            let recorder = self.recorder.clone();
            self.world.add_host(name, move || {
                let outbox = recorder.look(|view| view.outbox(&host));
                produce(host.clone(), bootstrap.clone(), config.clone(), sending.clone(), outbox)
            });
        }
        for (name, config, reading) in &self.resolved.consumers {
            let (host, config, reading, bootstrap) = (name.clone(), config.clone(), reading.clone(), self.bootstrap());
            let partitions = self.partitions_of(&reading.topic.value);
            self.world.add_host(name, move || {
                consume(host.clone(), bootstrap.clone(), config.clone(), reading.clone(), partitions.clone())
            });
        }
        for (name, config, consuming) in &self.resolved.members {
            let (host, config, consuming) = (name.clone(), config.clone(), consuming.clone());
            let (bootstrap, partitions) = (self.bootstrap(), self.partitions_of(&consuming.topic.value));
            self.world.add_host(name, move || {
                consume_in_group(host.clone(), bootstrap.clone(), config.clone(), consuming.clone(), partitions.clone())
            });
        }
    }

    fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        self.resolved.cast.partitions.iter().filter(|partition| &*partition.topic == topic).cloned().collect()
    }
}

/// The process of a broker or a controller: formats its disk at its first start, then serves until it is stopped.
async fn serve(name: String, config: NodeConfig, switches: Switches, recorder: Arc<Recorder>, told: Told) {
    let disk = Disk::at(&config.log_dir);
    if let Err(error) = format(&name, config.node_id, &disk).await {
        assert!(error.is_of_disk(), "{name}: {error}");
        return World::current().crash(&name, StopKind::Kill);
    }
    let shutdown = Shutdown::default();
    let asked = shutdown.clone();
    task::spawn(async move {
        process::shutdown_requested().await;
        asked.trigger();
    });
    let tracer = World::current().tracer(&name);
    let run = || {
        let (config, disk, tracer) = (config.clone(), disk.clone(), tracer.clone());
        let (told, ended_sessions) = (told.clone(), recorder.ended_sessions.clone());
        let (shutdown, ready) = (shutdown.clone(), Arc::default());
        node::run(NodeOptions { config, disk, switches, tracer, told, ended_sessions, shutdown, ready })
    };
    let mut ended = run().await;
    while let Some(checkpoint) = recorder.look(|view| checkpoint_to_remove(&name, &ended, view)) {
        if disk.remove_file(checkpoint).await.is_err() {
            return World::current().crash(&name, StopKind::Kill);
        }
        World::current().report(
            &name.as_str().into(),
            None,
            Event::DamagedCheckpointRemoved { checkpoint: checkpoint.into() },
        );
        ended = run().await;
    }
    if let Err(error) = ended {
        assert!(error.is_log_dir_failure(), "{name} ended: {error}");
        // It halts: to the others it is as one that was killed.
        World::current().crash(&name, StopKind::Kill);
    }
}

async fn format(name: &str, node: NodeId, disk: &Disk) -> Result<(), StorageError> {
    if MetaProperties::read(disk).await?.is_some() {
        return Ok(());
    }
    let mut id = [0; 16];
    (id[14], id[15]) = (World::current().disks_before(name) as u8, node.0 as u8);
    let meta = MetaProperties { cluster_id: "simulated".to_owned(), node_id: node, directory_id: TopicId(id) };
    meta.write(disk).await
}

/// The checkpoint that an operator removes, as the node that ended says: a disk that lied may have kept a part of it.
/// One that is damaged without that is the node's own fault.
fn checkpoint_to_remove(name: &str, ended: &Result<(), NodeError>, view: &View) -> Option<&'static str> {
    let checkpoint = ended.as_ref().err()?.damaged_checkpoint()?;
    view.has_spoilt_disk(name).then_some(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::Time,
        scenario::term::Cast,
        trace::{EventId, journal::Entry},
    };

    #[test]
    fn an_operator_removes_a_checkpoint_that_a_disk_has_spoilt_and_none_that_the_node_has_spoilt() {
        let damaged = |file: &str| {
            let path = format!("b1:data/{file}");
            Err(NodeError::Storage(StorageError::Corrupt { path, place: "line 1".into(), problem: "bad".into() }))
        };
        let mut view = View::new(Cast::default());
        let checkpoint = "replication-offset-checkpoint";
        assert_eq!(checkpoint_to_remove("b1", &damaged(checkpoint), &view), None);
        let event = Event::FaultBegan { fault: "disk b1 lost-sync".into() };
        view.take(&Entry { id: EventId(1), time: Time(0), node: "scenario".into(), cause: None, event });
        assert_eq!(checkpoint_to_remove("b1", &damaged(checkpoint), &view), Some(checkpoint));
        assert_eq!(checkpoint_to_remove("b2", &damaged(checkpoint), &view), None, "another disk");
        assert_eq!(checkpoint_to_remove("b1", &damaged("meta.properties"), &view), None, "nothing makes that again");
        assert_eq!(checkpoint_to_remove("b1", &Ok(()), &view), None);
    }
}
