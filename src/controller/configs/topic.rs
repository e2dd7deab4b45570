//! Topic configs: name, type, default, the broker config that gives the cluster's default, and which values are good.
//!
//! Facts asked of Apache Kafka 4.3.1. Not here: what the settings do.

use Good::{Fraction, OneOf, Range, TrueOrFalse, Words};

/// A topic config.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfig {
    /// Kafka's name.
    pub name: &'static str,
    /// Type, numbered as in DescribeConfigs.
    pub kind: i8,
    /// Default.
    pub default: &'static str,
    /// The broker config whose value is the default of this cluster.
    pub synonym: Option<&'static str>,
    good: Good,
}

/// Which values a config takes.
#[derive(Clone, Copy, Debug)]
enum Good {
    /// A whole number within these bounds.
    Range(i64, i64),
    /// A number from 0 to 1.
    Fraction,
    /// `true` or `false`.
    TrueOrFalse,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, with commas between them.
    Words(&'static [&'static str]),
    /// Any text.
    Any,
}

const ANYTHING: Good = Good::Any;
const FRACTION: Good = Fraction;
const TRUE_OR_FALSE: Good = TrueOrFalse;

const fn at_least(least: i64) -> Good {
    Range(least, i64::MAX)
}

const fn between(least: i64, most: i64) -> Good {
    Range(least, most)
}

const fn one_of(words: &'static [&'static str]) -> Good {
    OneOf(words)
}

const fn words(words: &'static [&'static str]) -> Good {
    Words(words)
}

const fn topic(
    name: &'static str,
    kind: i8,
    default: &'static str,
    synonym: Option<&'static str>,
    good: Good,
) -> TopicConfig {
    TopicConfig { name, kind, default, synonym, good }
}

impl TopicConfig {
    /// Checks a value.
    ///
    /// # Errors
    /// What is expected.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let wrong =
            |expected: String| Err(format!("Invalid value {value} for configuration {}: {expected}", self.name));
        let value = value.trim();
        match self.good {
            Range(least, most) => match value.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) && self.fits_type(number) => Ok(()),
                Ok(_) => wrong(format!("Value must be at least {least}{}", upper(most))),
                Err(_) => wrong("Not a number".to_owned()),
            },
            Fraction => match value.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                _ => wrong("expected a number from 0 to 1".to_owned()),
            },
            TrueOrFalse if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => Ok(()),
            TrueOrFalse => wrong("expected true or false".to_owned()),
            OneOf(words) if words.contains(&value) => Ok(()),
            OneOf(words) => wrong(format!("expected one of {}", words.join(", "))),
            Words(words) if value.split(',').all(|word| value.is_empty() || words.contains(&word.trim())) => Ok(()),
            Words(words) => wrong(format!("expected some of {}", words.join(", "))),
            Good::Any => Ok(()),
        }
    }

    /// 32-bit configs take no larger number.
    fn fits_type(&self, number: i64) -> bool {
        self.kind != 3 || i32::try_from(number).is_ok()
    }

    /// Whether it is a list, to which values can be appended.
    pub fn is_list(&self) -> bool {
        self.kind == 7
    }
}

fn upper(most: i64) -> String {
    if most == i64::MAX { String::new() } else { format!(" and at most {most}") }
}

/// The topic config called `name`.
pub fn topic_config(name: &str) -> Option<&'static TopicConfig> {
    TOPIC.iter().find(|config| config.name == name)
}

/// Every topic config, by name.
#[rustfmt::skip]
pub const TOPIC: &[TopicConfig] = &[
    topic("cleanup.policy", 7, "delete", Some("log.cleanup.policy"), words(&["compact", "delete"])),
    topic("compression.gzip.level", 3, "-1", Some("compression.gzip.level"), between(-1, 9)),
    topic("compression.lz4.level", 3, "9", Some("compression.lz4.level"), between(1, 17)),
    topic("compression.type", 2, "producer", Some("compression.type"), one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])),
    topic("compression.zstd.level", 3, "3", Some("compression.zstd.level"), between(-131_072, 22)),
    topic("delete.retention.ms", 5, "86400000", Some("log.cleaner.delete.retention.ms"), at_least(0)),
    topic("file.delete.delay.ms", 5, "60000", Some("log.segment.delete.delay.ms"), at_least(0)),
    topic("flush.messages", 5, "9223372036854775807", Some("log.flush.interval.messages"), at_least(1)),
    topic("flush.ms", 5, "9223372036854775807", Some("log.flush.interval.ms"), at_least(0)),
    topic("follower.replication.throttled.replicas", 7, "", None, ANYTHING),
    topic("index.interval.bytes", 3, "4096", Some("log.index.interval.bytes"), at_least(0)),
    topic("leader.replication.throttled.replicas", 7, "", None, ANYTHING),
    topic("local.retention.bytes", 5, "-2", Some("log.local.retention.bytes"), at_least(-2)),
    topic("local.retention.ms", 5, "-2", Some("log.local.retention.ms"), at_least(-2)),
    topic("max.compaction.lag.ms", 5, "9223372036854775807", Some("log.cleaner.max.compaction.lag.ms"), at_least(1)),
    topic("max.message.bytes", 3, "1048588", Some("message.max.bytes"), at_least(0)),
    topic("message.timestamp.after.max.ms", 5, "3600000", Some("log.message.timestamp.after.max.ms"), at_least(0)),
    topic("message.timestamp.before.max.ms", 5, "9223372036854775807", Some("log.message.timestamp.before.max.ms"), at_least(0)),
    topic("message.timestamp.type", 2, "CreateTime", Some("log.message.timestamp.type"), one_of(&["CreateTime", "LogAppendTime"])),
    topic("min.cleanable.dirty.ratio", 6, "0.5", Some("log.cleaner.min.cleanable.ratio"), FRACTION),
    topic("min.compaction.lag.ms", 5, "0", Some("log.cleaner.min.compaction.lag.ms"), at_least(0)),
    topic("min.insync.replicas", 3, "1", Some("min.insync.replicas"), at_least(1)),
    topic("preallocate", 1, "false", Some("log.preallocate"), TRUE_OR_FALSE),
    topic("remote.log.copy.disable", 1, "false", None, TRUE_OR_FALSE),
    topic("remote.log.delete.on.disable", 1, "false", None, TRUE_OR_FALSE),
    topic("remote.storage.enable", 1, "false", None, TRUE_OR_FALSE),
    topic("retention.bytes", 5, "-1", Some("log.retention.bytes"), at_least(i64::MIN)),
    topic("retention.ms", 5, "604800000", Some("log.retention.ms"), at_least(-1)),
    topic("segment.bytes", 3, "1073741824", Some("log.segment.bytes"), at_least(1_048_576)),
    topic("segment.index.bytes", 3, "10485760", Some("log.index.size.max.bytes"), at_least(4)),
    topic("segment.jitter.ms", 5, "0", Some("log.roll.jitter.ms"), at_least(0)),
    topic("segment.ms", 5, "604800000", Some("log.roll.ms"), at_least(1)),
    topic("unclean.leader.election.enable", 1, "false", Some("unclean.leader.election.enable"), TRUE_OR_FALSE),];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_good_value() {
        for config in TOPIC {
            assert_eq!(config.check(config.default), Ok(()), "{}", config.name);
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let cases = [
            ("retention.ms", "abc"),
            ("min.insync.replicas", "0"),
            ("cleanup.policy", "burn"),
            ("compression.type", "rar"),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "3000000000"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "yes"),
        ];
        for (name, value) in cases {
            let problem = topic_config(name).unwrap().check(value).unwrap_err();
            assert!(problem.contains(name) && problem.contains(value), "{problem}");
        }
    }
}
