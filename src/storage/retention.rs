//! The begin of a log moves forward: by retention, by DeleteRecords, and after a leader's.
//!
//! | what | what happens |
//! |---|---|
//! | the begin moves | from then on nothing before it is read; its segment stays as long as it holds a later record |
//! | retention | segments that are too old, or too much, go from the front; the begin moves to the first that stays |
//!
//! Nothing at or beyond the high watermark goes (KAFKA-5634): the begin is never after it. Which segments go is decided
//! by [`expired`], a function; the rest of this file removes files. Segments go one after the other from the front, each
//! durably: a crash leaves no hole. A begin within a segment is durable with the next `log-start-offset-checkpoint`, as
//! in Kafka: a kill before may bring back what was deleted. Not here: when it is looked, and compaction.

use super::{Log, LogConfig, StorageError, segment::Segment};
use crate::{
    base::{Offset, Timestamp, mark},
    trace::Event,
};

/// What [`expired`] looks at of a segment.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Offset after its last record: where the next segment begins.
    end: Offset,
    size_bytes: u64,
    /// Greatest timestamp in it, or -1.
    timestamp: Timestamp,
}

/// How many segments of `all`, the front ones, may go, and why. Without timestamps a segment has no age. `start` is the
/// begin of the log.
fn expired(
    all: &[Extent],
    (start, high_watermark): (Offset, Offset),
    config: &LogConfig,
    now_ms: Timestamp,
) -> (usize, &'static str) {
    let behind = |segments: &[Extent], goes: &mut dyn FnMut(&Extent) -> bool| {
        let may_go = |segment: &&Extent| segment.end <= high_watermark && segment.size_bytes > 0;
        segments.iter().take_while(|segment| may_go(segment) && goes(segment)).count()
    };
    // The last one is appended to, and goes by its age alone.
    let breached = behind(&all[..all.len() - 1], &mut |segment| segment.end <= start);
    if !config.deletes {
        return (breached, "");
    }
    let total: u64 = all[breached..].iter().map(|segment| segment.size_bytes).sum();
    let mut excess = u64::try_from(config.retention_bytes).map_or(0, |most| total.saturating_sub(most));
    let by_size = behind(&all[breached..], &mut |segment| {
        let goes = excess >= segment.size_bytes;
        excess = excess.saturating_sub(segment.size_bytes);
        goes
    });
    let kept = breached + by_size;
    let by_age = behind(&all[kept..], &mut |segment| {
        let age_ms = now_ms.saturating_sub(segment.timestamp);
        config.retention_ms >= 0 && segment.timestamp >= 0 && age_ms > config.retention_ms
    });
    (kept + by_age, if by_age > 0 { "retention.ms" } else { "retention.bytes" })
}

impl Log {
    /// Moves the begin to `to`, if that is forward, not past `high_watermark`. `why` is for the journal. Returns whether
    /// it moved.
    ///
    /// # Errors
    /// [`StorageError::OutOfRange`] beyond the high watermark; the epochs cannot be written.
    pub async fn advance_start(&mut self, to: Offset, high_watermark: Offset, why: &str) -> Result<bool, StorageError> {
        if to > high_watermark {
            return Err(StorageError::OutOfRange { offset: to, start: self.start, end: high_watermark });
        }
        if to <= self.start {
            return Ok(false);
        }
        self.check_online()?;
        self.set_start(to, why);
        let written = self.write_epochs().await;
        self.note_failure(written)?;
        Ok(true)
    }

    /// Removes the segments before the begin, and with `cleanup.policy` delete those that retention lets go by `now_ms`.
    /// An active segment that has expired goes as well, once the log goes on in a new one. Returns whether the begin
    /// moved.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn delete_old_segments(
        &mut self,
        high_watermark: Offset,
        now_ms: Timestamp,
    ) -> Result<bool, StorageError> {
        self.check_online()?;
        let ends = self.segments.keys().skip(1).copied().chain([self.end]);
        let extents: Vec<Extent> = self
            .segments
            .values()
            .zip(ends)
            .map(|(segment, end)| Extent {
                end,
                size_bytes: segment.size_bytes(),
                timestamp: segment.reached.timestamp,
            })
            .collect();
        let (count, why) = expired(&extents, (self.start, high_watermark), &self.config, now_ms);
        if count == 0 {
            return Ok(false);
        }
        let deleted = self.delete_front(count, why).await;
        self.note_failure(deleted)
    }

    async fn delete_front(&mut self, count: usize, why: &str) -> Result<bool, StorageError> {
        mark::reach("segments_deleted");
        if count == self.segments.len() {
            self.roll().await?;
        }
        let first = *self.segments.keys().nth(count).expect("a segment stays");
        let moves = first > self.start;
        if moves {
            self.set_start(first, why);
        }
        self.recovery_point = self.recovery_point.max(first);
        while let Some(base) = self.segments.keys().next().copied().filter(|base| *base < first) {
            Segment::remove(&self.disk, &self.folder, base).await?;
            self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
            self.segments.remove(&base);
        }
        self.write_epochs().await?;
        Ok(moves)
    }

    fn set_start(&mut self, to: Offset, why: &str) {
        let from = std::mem::replace(&mut self.start, to);
        self.epochs_dirty |= self.epochs.truncate_from_start(to);
        let partition = self.partition.clone();
        self.tracer.milestone(Event::LogStartMoved { partition, from, to, why: why.into() });
    }

    /// The begin as the checkpoint has to hold it: where the files tell it, nothing.
    pub fn start_to_checkpoint(&self) -> Option<Offset> {
        self.segments.keys().next().is_some_and(|first| self.start > *first).then_some(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_go_from_the_front_by_begin_size_and_age_and_never_at_the_high_watermark() {
        // Three of 100 bytes each, of the times 10, 20 and 30.
        let segment = |n: i64| Extent { end: Offset(10 * n), size_bytes: 100, timestamp: 10 * n };
        let all = [segment(1), segment(2), segment(3)];
        let config = |retention_bytes: i64, retention_ms: i64| LogConfig {
            retention_bytes,
            retention_ms,
            ..LogConfig::default()
        };
        // begin, high watermark, retention.bytes, retention.ms, now; how many go
        let cases = [
            ((0, 30, -1, -1, 1_000_000), 0),
            ((10, 30, -1, -1, 0), 1),
            ((19, 30, -1, -1, 0), 1),
            ((30, 30, -1, -1, 0), 2),
            ((0, 30, 200, -1, 0), 1),
            ((0, 30, 101, -1, 0), 1),
            ((0, 30, 0, -1, 0), 3),
            ((0, 15, 0, -1, 0), 1),
            ((0, 30, -1, 5, 15), 0),
            ((0, 30, -1, 5, 16), 1),
            ((0, 30, -1, 5, 26), 2),
            ((0, 30, -1, 5, 36), 3),
            ((0, 29, -1, 5, 36), 2),
            ((0, 9, -1, 0, 36), 0),
            ((10, 30, 100, 0, 21), 2),
        ];
        for ((start, high_watermark, bytes, ms, now), count) in cases {
            let offsets = (Offset(start), Offset(high_watermark));
            let (found, _) = expired(&all, offsets, &config(bytes, ms), now);
            assert_eq!(
                found, count,
                "begin {start}, high watermark {high_watermark}, {bytes} bytes, {ms} ms, at {now}"
            );
            let compacted = LogConfig { deletes: false, ..config(bytes, ms) };
            let (found, _) = expired(&all, offsets, &compacted, now);
            assert!(found == 0 || start >= 10, "a compacted log loses nothing by age or size");
        }
    }

    #[test]
    fn an_empty_segment_and_one_without_timestamps_stay() {
        let config = LogConfig { retention_ms: 0, ..LogConfig::default() };
        for (size_bytes, timestamp) in [(0, 5), (100, -1)] {
            let all = [Extent { end: Offset(10), size_bytes, timestamp }];
            assert_eq!(expired(&all, (Offset(0), Offset(10)), &config, 1_000).0, 0);
        }
    }
}
