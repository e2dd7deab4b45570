//! The ways to say what a consumer reads. As in Kafka's client they exclude each other: only unsubscribing leads from one
//! to another.

use crate::client::ClientError;

/// What a consumer was told to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// Topics, as a member of the group.
    Topics,
    /// Topics that match, as a member of the group.
    Pattern,
    /// Partitions that were assigned by hand.
    Partitions,
}

impl Reading {
    /// Reads `wanted` from here.
    ///
    /// # Errors
    /// It reads in another way.
    pub(super) fn begin(&mut self, wanted: Self) -> Result<(), ClientError> {
        if *self != Self::Nothing && *self != wanted {
            let problem =
                "subscriptions to topics, to a pattern and to partitions exclude each other: unsubscribe first";
            return Err(ClientError::Misused(problem));
        }
        *self = wanted;
        Ok(())
    }

    /// A member, or about to be one.
    pub(super) fn is_as_member(self) -> bool {
        matches!(self, Self::Topics | Self::Pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_in_one_way_begins_no_other() {
        let ways = [Reading::Topics, Reading::Pattern, Reading::Partitions];
        for first in ways {
            for second in ways {
                let mut reading = Reading::Nothing;
                assert_eq!(reading.begin(first), Ok(()));
                let refused = reading.begin(second).is_err();
                assert_eq!((refused, reading), (first != second, first), "{first:?}, then {second:?}");
            }
        }
    }
}
