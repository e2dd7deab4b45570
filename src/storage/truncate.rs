//! Cutting a log's tail. What a crash in the middle leaves is always the log as it was, or a prefix of it.
//!
//! | step | why in this order |
//! |---|---|
//! | later segments go, the last first, each durably | a crash leaves no hole between segments |
//! | the last one is cut and synced | batches must not come back after their epochs have gone |
//! | epochs and producers' snapshots follow | they describe what is left |

use super::{Log, StorageError, segment::Segment};
use crate::{base::Offset, trace::Event};

impl Log {
    /// Cuts the log so that it ends at `offset`, or before the batch that holds it. `why` is for the journal.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn truncate_to(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        self.check_online()?;
        let truncated = if offset >= self.end {
            // An epoch that began at the end and has no record yet goes nevertheless: it may be in the way of finding
            // where the leader's log diverges (KIP-279).
            self.epochs_dirty |= self.epochs.truncate_from_end(self.end);
            self.write_epochs().await
        } else if offset <= self.start {
            self.start_again_at(offset, why).await
        } else {
            self.cut_at(offset, why).await
        };
        self.note_failure(truncated)
    }

    async fn cut_at(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        let from = self.end;
        self.remove_segments_from(offset.next()).await?;
        let mut end = offset;
        let active = self.segments.values_mut().next_back().expect("the segment that holds the offset stays");
        if let Some(position) = active.position_of(offset).await? {
            let mut walk = active.walk_from(position);
            if let Some(Ok((_, header))) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                end = end.min(header.base_offset);
            }
            active.truncate(position, end).await?;
        }
        // The begin may lie within the batch that went.
        (self.start, self.end) = (self.start.min(end), end);
        self.after_truncation(from, why).await
    }

    /// Empties the log; the next record gets `offset`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn truncate_fully_and_start_at(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        self.check_online()?;
        let truncated = self.start_again_at(offset, why).await;
        self.note_failure(truncated)
    }

    pub(super) async fn start_again_at(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        let (began, from) = (self.start, self.end);
        self.remove_segments_from(Offset::ZERO).await?;
        let segment = Segment::create(&self.disk, &self.folder, offset).await?;
        self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        self.segments.insert(offset, segment);
        (self.start, self.end) = (offset, offset);
        self.epochs_dirty |= self.epochs.truncate_from_end(Offset::ZERO);
        self.remove_snapshots_after(Offset(-1)).await?;
        self.recovery_point = offset;
        if offset > from {
            // Beyond all that it had: to the journal its begin has moved past its end.
            let (partition, why) = (self.partition.clone(), why.into());
            self.tracer.milestone(Event::LogStartMoved { partition, from: began, to: offset, why });
        }
        self.after_truncation(from, why).await
    }

    /// Removes the segments at `from` and later, the last one first and each durably: a crash leaves no hole.
    pub(super) async fn remove_segments_from(&mut self, from: Offset) -> Result<(), StorageError> {
        let doomed: Vec<Offset> = self.segments.range(from..).map(|(base, _)| *base).collect();
        for base in doomed.into_iter().rev() {
            Segment::remove(&self.disk, &self.folder, base).await?;
            self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
            self.segments.remove(&base);
        }
        Ok(())
    }

    /// Brings everything that describes the log in line with its new end. The batches are cut durably by now: had the
    /// epochs gone first, a power loss could bring back batches of an epoch that is not known any more.
    async fn after_truncation(&mut self, from: Offset, why: &str) -> Result<(), StorageError> {
        self.recovery_point = self.recovery_point.min(self.end);
        self.epochs_dirty |= self.epochs.truncate_from_end(self.end);
        self.write_epochs().await?;
        self.remove_snapshots_after(self.end).await?;
        self.rebuild_producers().await?;
        let (partition, to) = (self.partition.clone(), self.end);
        if to <= from {
            self.tracer.detail(|| Event::Truncated { partition, from, to, why: why.into() });
        }
        Ok(())
    }
}
