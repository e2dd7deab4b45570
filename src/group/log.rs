//! From the batches of a log to records: what a coordinator does while it is loaded.
//!
//! Offsets that a transaction commits count from its marker on, and only if no later commit of the same partition came
//! before the marker (KAFKA-15784): Apache Kafka writes them; here there are no transactions yet. What is damaged is
//! named and left out, and so is what is of an unknown type: the rest of the groups go on.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::records::{Names, Record};
use crate::{
    base::{Offset, ProducerId, Switches, TopicPartition},
    protocol::records::{BatchHeader, Decoded, walk_decoded},
};

/// Most bytes that the records of a batch may have.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// Key of the marker that ends a transaction with a commit: version 0, type 1.
const COMMIT_MARKER: &[u8] = &[0, 0, 0, 1];

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it is.
    pub offset: Offset,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads the batches of a partition in their order.
#[derive(Debug, Default)]
pub struct LogReader {
    switches: Switches,
    /// Offsets of transactions that have not ended.
    open: BTreeMap<ProducerId, BTreeMap<(Arc<str>, TopicPartition), Record>>,
    over: bool,
    names: Names,
}

impl LogReader {
    /// Before the first batch.
    pub fn new(switches: Switches) -> Self {
        Self { switches, ..Self::default() }
    }

    /// The records that count from this batch on, in order; what could not be read goes to `damage`.
    pub fn read(&mut self, header: &BatchHeader, batch: &Bytes, damage: &mut Vec<Damage>) -> Vec<Record> {
        let (mut records, mut unknown, mut commits) = (Vec::new(), Vec::new(), false);
        let names = &mut self.names;
        let each = |record: Decoded<'_>| {
            if header.is_control() {
                commits |= record.key == Some(COMMIT_MARKER);
                return;
            }
            match Record::parse(record.key, record.value, names) {
                Ok(parsed) => records.extend(parsed),
                Err(problem) => unknown.push(Damage { offset: record.offset, problem }),
            }
        };
        if let Err(error) = walk_decoded(header, batch, DECOMPRESSED_BYTES_MAX, each) {
            damage.push(Damage { offset: header.base_offset, problem: error.to_string() });
            return Vec::new();
        }
        damage.extend(unknown);
        if header.is_control() {
            let ended = self.open.remove(&header.producer_id).unwrap_or_default();
            return if commits { ended.into_values().collect() } else { Vec::new() };
        }
        self.sort_out(header, records)
    }

    fn sort_out(&mut self, header: &BatchHeader, mut records: Vec<Record>) -> Vec<Record> {
        if self.switches.bug_load_stops_at_tombstone {
            self.over |= records.iter().any(|record| record.value().is_none());
            records.retain(|_| !self.over);
        }
        if !header.is_transactional() {
            if !self.open.is_empty() {
                for key in records.iter().filter_map(key_of) {
                    self.open.values_mut().for_each(|offsets| drop(offsets.remove(&key)));
                }
            }
            return records;
        }
        let offsets = self.open.entry(header.producer_id).or_default();
        offsets.extend(records.into_iter().filter_map(|record| Some((key_of(&record)?, record))));
        Vec::new()
    }
}

fn key_of(record: &Record) -> Option<(Arc<str>, TopicPartition)> {
    match record {
        Record::Offset { group, partition, .. } => Some((group.clone(), partition.clone())),
        Record::Group { .. } | Record::Consumer { .. } => None,
    }
}
