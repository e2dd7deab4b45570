//! Brokers: registration, heartbeats, fencing, controlled shutdown.
//!
//! | the broker is | its heartbeat says | it becomes |
//! |---|---|---|
//! | fenced | shut down | fenced; it may go |
//! | fenced | has read its registration, wants no fence | unfenced |
//! | unfenced | wants to be fenced | fenced |
//! | unfenced | shut down | in controlled shutdown: its leaderships move, it leaves the ISRs |
//! | in controlled shutdown | shut down | it may go once it leads nothing and all have read that |
//!
//! A broker that is not heard from for `broker.session.timeout.ms` is fenced. A new incarnation cannot register while
//! the old one's session lasts (DUPLICATE_BROKER_REGISTRATION): that keeps a leader which lost its unsynced tail in a
//! power loss from coming back in the same epoch.

use super::{
    Controller, Decided, Decision,
    elections::{self, Kind},
};
use crate::{
    base::{BrokerEpoch, NodeId, Offset, Time, mark},
    protocol::{
        ErrorCode,
        messages::{
            BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
        },
        metadata::{MetadataRecord, RegisterBroker, RegisteredEndpoint},
    },
    trace::Election,
};

impl Controller {
    /// Registers an incarnation of a broker. `next_offset` is where its record will stand: its broker epoch.
    pub fn register_broker(
        &self,
        request: &BrokerRegistrationRequest,
        next_offset: Offset,
        now: Time,
    ) -> Decision<BrokerRegistrationResponse> {
        let refused = |code: ErrorCode| {
            let response = BrokerRegistrationResponse::default().with_error_code(code.code()).with_broker_epoch(-1);
            Decision::only(response)
        };
        if request.cluster_id.as_str() != self.settings.cluster_id {
            return refused(ErrorCode::InconsistentClusterId);
        }
        let broker = NodeId(request.broker_id.0);
        let incarnation = *request.incarnation_id.as_bytes();
        let known = self.image.broker(broker);
        if let Some(known) = known {
            if known.incarnation == incarnation {
                // The answer was lost; the registration stands.
                return Decision::only(BrokerRegistrationResponse::default().with_broker_epoch(known.epoch.0));
            }
            if !known.fenced
                && self.session_lasts(broker, now)
                && !self.settings.switches.bug_returning_broker_not_fenced
            {
                return refused(ErrorCode::DuplicateBrokerRegistration);
            }
        }
        let stays = self.settings.switches.bug_returning_broker_not_fenced && known.is_some_and(|known| !known.fenced);
        let mut records = Vec::new();
        if known.is_some_and(|known| !known.fenced) && !stays {
            self.leave_all(broker, &format!("broker {broker} came back as another incarnation"), &mut records);
        }
        let endpoint =
            |listener: &crate::protocol::messages::broker_registration_request::Listener| RegisteredEndpoint {
                name: listener.name.to_string(),
                host: listener.host.to_string(),
                port: listener.port,
                security_protocol: listener.security_protocol,
            };
        let registration = RegisterBroker {
            broker,
            incarnation,
            // The records before it in this batch move it.
            broker_epoch: BrokerEpoch(next_offset.plus(records.len() as i64).0),
            endpoints: request.listeners.iter().map(endpoint).collect(),
            features: request
                .features
                .iter()
                .map(|feature| (feature.name.to_string(), feature.min_supported_version, feature.max_supported_version))
                .collect(),
            rack: request.rack.as_ref().map(ToString::to_string),
            fenced: !stays,
            in_controlled_shutdown: false,
            log_dirs: request.log_dirs.iter().map(|id| *id.as_bytes()).collect(),
        };
        let response = BrokerRegistrationResponse::default().with_broker_epoch(registration.broker_epoch.0);
        let clean = known.is_some_and(|known| known.epoch.0 == request.previous_broker_epoch);
        let reason = if clean { "after a clean stop" } else { "for the first time, or after an unclean stop" };
        records.push(Decided::new(MetadataRecord::RegisterBroker(registration), reason));
        Decision { response, records }
    }

    fn session_lasts(&self, broker: NodeId, now: Time) -> bool {
        let session = self.sessions.get(&broker);
        session.is_some_and(|session| now.since(session.last_contact) <= self.settings.session_timeout)
    }

    /// Takes a heartbeat: notes the contact. Call before [`Controller::heartbeat`].
    pub fn note_contact(&mut self, broker: NodeId, metadata_offset: Offset, now: Time) {
        if let Some(session) = self.sessions.get_mut(&broker) {
            (session.last_contact, session.metadata_offset) = (now, metadata_offset);
        }
    }

    /// Notes that `broker` may go when everyone has read the metadata up to `offset`.
    pub fn note_shutdown(&mut self, broker: NodeId, offset: Offset) {
        if let Some(session) = self.sessions.get_mut(&broker) {
            session.shutdown_offset = Some(offset);
        }
    }

    /// Answers a heartbeat; see the table of this module.
    pub fn heartbeat(&self, request: &BrokerHeartbeatRequest) -> Decision<BrokerHeartbeatResponse> {
        let broker = NodeId(request.broker_id.0);
        let answer = BrokerHeartbeatResponse::default();
        let Some(known) = self.image.broker(broker) else {
            return Decision::only(answer.with_error_code(ErrorCode::BrokerIdNotRegistered.code()));
        };
        if known.epoch.0 != request.broker_epoch {
            return Decision::only(answer.with_error_code(ErrorCode::StaleBrokerEpoch.code()));
        }
        let caught_up = request.current_metadata_offset >= known.epoch.0;
        let answer = answer.with_is_caught_up(caught_up).with_is_fenced(known.fenced);
        if known.fenced {
            if request.want_shut_down {
                return Decision::only(answer.with_should_shut_down(true));
            }
            if request.want_fence || !caught_up {
                return Decision::only(answer);
            }
            return Decision { response: answer.with_is_fenced(false), records: self.unfence(broker) };
        }
        if request.want_shut_down {
            return self.heartbeat_of_leaving(broker, answer);
        }
        if request.want_fence {
            let records = self.fence(broker, "it asked for it");
            return Decision { response: answer.with_is_fenced(true), records };
        }
        Decision::only(answer)
    }

    fn heartbeat_of_leaving(
        &self,
        broker: NodeId,
        answer: BrokerHeartbeatResponse,
    ) -> Decision<BrokerHeartbeatResponse> {
        let known = self.image.broker(broker).expect("the caller found it");
        let mut records = Vec::new();
        if !known.in_controlled_shutdown {
            mark::reach("controlled_shutdown");
            let change = MetadataRecord::BrokerRegistrationChange {
                broker,
                broker_epoch: known.epoch,
                fenced: None,
                in_controlled_shutdown: true,
            };
            records.push(Decided::new(change, "it asked for a controlled shutdown"));
            self.leave_all(broker, &format!("broker {broker} is leaving"), &mut records);
            return Decision { response: answer, records };
        }
        let leads = self.partitions_where(|registration| registration.leader == broker).next().is_some();
        let Some(offset) = self.sessions.get(&broker).and_then(|session| session.shutdown_offset) else {
            return Decision::only(answer);
        };
        let others_know = self
            .image
            .brokers()
            .filter(|other| other.is_active())
            .all(|other| self.sessions.get(&other.id).is_some_and(|session| session.metadata_offset >= offset));
        if leads && self.could_move_a_leadership_of(broker) || !others_know {
            return Decision::only(answer);
        }
        let records = self.fence(broker, "its controlled shutdown is done");
        Decision { response: answer.with_should_shut_down(true).with_is_fenced(true), records }
    }

    /// Whether a partition led by `broker` has another live member of its ISR.
    fn could_move_a_leadership_of(&self, broker: NodeId) -> bool {
        self.partitions_where(|registration| registration.leader == broker).any(|(_, _, registration)| {
            registration.isr.iter().any(|member| *member != broker && self.is_active(*member))
        })
    }

    fn unfence(&self, broker: NodeId) -> Vec<Decided> {
        let epoch = self.image.broker(broker).expect("the caller found it").epoch;
        let change = MetadataRecord::BrokerRegistrationChange {
            broker,
            broker_epoch: epoch,
            fenced: Some(false),
            in_controlled_shutdown: false,
        };
        let mut records = vec![Decided::new(change, "it has read the metadata up to its registration")];
        let alive = |node: NodeId| node == broker || self.is_active(node);
        for (partition, topic_id, registration) in
            self.partitions_where(|registration| registration.leader == NodeId::NONE)
        {
            let rules = self.election_rules(&partition.topic);
            let at = (topic_id, partition.partition);
            if let Some((change, election)) = elections::elect(at, registration, Kind::Online, rules, alive) {
                note_election(election);
                records.push(self.decided_change(change, election, format!("broker {broker} came back")));
            }
        }
        records
    }

    /// The brokers whose session has ended, each with the records that fence it. One at a time: each election then
    /// sees the ones before.
    pub fn expired_session(&self, now: Time) -> Option<(NodeId, Vec<Decided>)> {
        let expired = self.image.brokers().find(|known| !known.fenced && !self.session_lasts(known.id, now))?;
        mark::reach("broker_fenced");
        let timeout_ms = self.settings.session_timeout.as_millis();
        Some((expired.id, self.fence(expired.id, &format!("no heartbeat came for {timeout_ms} ms"))))
    }

    /// The session of `broker` is over, whether or not it is silent: the records that fence it, if it was not.
    pub fn end_session(&self, broker: NodeId) -> Vec<Decided> {
        let is_active = self.image.broker(broker).is_some_and(|known| !known.fenced);
        if is_active { self.fence(broker, "its session was ended") } else { Vec::new() }
    }

    /// When the next session ends, if no heartbeat comes.
    pub fn next_expiry(&self) -> Option<Time> {
        let unfenced = self.image.brokers().filter(|known| !known.fenced);
        let ends = unfenced.filter_map(|known| self.sessions.get(&known.id));
        ends.map(|session| session.last_contact + self.settings.session_timeout).min()
    }

    /// Gives every registered broker a fresh session: this controller has heard nobody yet.
    pub fn begin_sessions(&mut self, now: Time) {
        for session in self.sessions.values_mut() {
            session.last_contact = now;
        }
    }

    pub(super) fn fence(&self, broker: NodeId, why: &str) -> Vec<Decided> {
        let epoch = self.image.broker(broker).expect("a fenced broker is registered").epoch;
        let change = MetadataRecord::BrokerRegistrationChange {
            broker,
            broker_epoch: epoch,
            fenced: Some(true),
            in_controlled_shutdown: false,
        };
        let mut records = vec![Decided::new(change, why)];
        self.leave_all(broker, &format!("broker {broker} was fenced: {why}"), &mut records);
        records
    }

    /// Takes `broker` out of every ISR and leadership.
    fn leave_all(&self, broker: NodeId, why: &str, records: &mut Vec<Decided>) {
        let alive = |node: NodeId| node != broker && self.is_active(node);
        let concerned = |registration: &super::super::image::PartitionRegistration| {
            registration.leader == broker || registration.isr.contains(&broker)
        };
        for (partition, topic_id, registration) in self.partitions_where(concerned) {
            let rules = self.election_rules(&partition.topic);
            let at = (topic_id, partition.partition);
            if let Some((change, election)) = elections::elect(at, registration, Kind::Online, rules, alive) {
                note_election(election);
                if let Some(isr) = &change.isr {
                    super::isr::note_isr(registration, isr, change.leader.unwrap_or(registration.leader));
                }
                records.push(self.decided_change(change, election, why.to_owned()));
            }
        }
    }
}

/// Marks what an election was.
pub(super) fn note_election(election: Election) {
    match election {
        Election::Clean => mark::reach("clean_election"),
        Election::Unclean => mark::reach("unclean_election"),
        Election::Preferred => mark::reach("preferred_election"),
        Election::Offline => mark::reach("partition_offline"),
        Election::Created | Election::None => {}
    }
}
