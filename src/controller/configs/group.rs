//! The settings of a group, which go before the brokers' own: those of the consumer protocol (KIP-848).

use std::collections::BTreeMap;

use super::broker;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig {
    /// Kafka's name.
    pub name: &'static str,
    /// The broker config whose value is the default of this cluster.
    pub synonym: &'static str,
    min: &'static str,
    max: &'static str,
}

macro_rules! config {
    ($name:literal) => {
        GroupConfig {
            name: concat!("consumer.", $name),
            synonym: concat!("group.consumer.", $name),
            min: concat!("group.consumer.min.", $name),
            max: concat!("group.consumer.max.", $name),
        }
    };
}

/// `consumer.session.timeout.ms`.
pub const SESSION_TIMEOUT: &str = GROUP[2].name;
/// `consumer.heartbeat.interval.ms`.
pub const HEARTBEAT_INTERVAL: &str = GROUP[1].name;
/// `consumer.assignment.interval.ms`.
pub const ASSIGNMENT_INTERVAL: &str = GROUP[0].name;

/// All of them, by name. All are numbers of 32 bits.
pub const GROUP: [GroupConfig; 3] =
    [config!("assignment.interval.ms"), config!("heartbeat.interval.ms"), config!("session.timeout.ms")];

/// What the brokers' properties say of groups: their settings, and the bounds of each group's own; by name.
pub type Defaults = BTreeMap<&'static str, i32>;

/// The setting called `name`.
pub fn group_config(name: &str) -> Option<&'static GroupConfig> {
    const TABLE: &[GroupConfig] = &GROUP;
    TABLE.iter().find(|config| config.name == name)
}

/// What `property` says, else Kafka's own defaults.
pub fn defaults<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Defaults {
    let names = GROUP.iter().flat_map(|config| [config.synonym, config.min, config.max]);
    let value = |name: &str| {
        let default = broker::definition(name).and_then(|row| row.default);
        property(name).and_then(|text| text.trim().parse().ok()).or_else(|| default?.parse().ok())
    };
    names.filter_map(|name| Some((name, value(name)?))).collect()
}

impl GroupConfig {
    /// Checks a value under the name by which it is set: its own, or that of the brokers' property.
    ///
    /// # Errors
    /// What is expected, in Kafka's words.
    pub fn check(&self, name: &str, value: &str, defaults: &Defaults) -> Result<(), String> {
        let Ok(number) = value.trim().parse::<i32>() else {
            return Err(format!("Invalid value {value} for configuration {name}: Not a number of type INT"));
        };
        if defaults.get(self.min).is_some_and(|min| number < *min) {
            return Err(format!("{name} must be greater than or equal to {}", self.min));
        }
        if defaults.get(self.max).is_some_and(|max| number > *max) {
            return Err(format!("{name} must be less than or equal to {}", self.max));
        }
        Ok(())
    }

    /// A value as a broker takes it whose bounds are these: it may have been set under others.
    pub fn within(&self, value: i32, defaults: &Defaults) -> i32 {
        let bound = |name: &str, or: i32| defaults.get(name).copied().unwrap_or(or);
        value.max(bound(self.min, i32::MIN)).min(bound(self.max, i32::MAX))
    }
}

/// Checks the settings of a group together.
///
/// # Errors
/// What is expected, in Kafka's words.
pub fn check_all(set: &BTreeMap<String, String>, defaults: &Defaults) -> Result<(), String> {
    let number = |name: &str, synonym: &str| {
        let own = set.get(name).and_then(|text| text.trim().parse::<i32>().ok());
        own.or_else(|| defaults.get(synonym).copied()).unwrap_or_default()
    };
    let [_, heartbeat, session] = GROUP.map(|config| number(config.name, config.synonym));
    match session > heartbeat {
        true => Ok(()),
        false => Err(format!("{SESSION_TIMEOUT} must be greater than {HEARTBEAT_INTERVAL}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_within_the_brokers_bounds() {
        let narrow = |name: &str| (name == "group.consumer.min.session.timeout.ms").then_some("50000");
        let cases = [
            (SESSION_TIMEOUT, "50000", ""),
            (SESSION_TIMEOUT, "49999", "must be greater than or equal to group.consumer.min.session.timeout.ms"),
            (SESSION_TIMEOUT, "60001", "must be less than or equal to group.consumer.max.session.timeout.ms"),
            (HEARTBEAT_INTERVAL, "1000", "must be greater than or equal to group.consumer.min.heartbeat.interval.ms"),
            (ASSIGNMENT_INTERVAL, "0", ""),
            (ASSIGNMENT_INTERVAL, "soon", "Not a number of type INT"),
        ];
        for (name, value, expected) in cases {
            let checked = group_config(name).expect("it is in the table").check(name, value, &defaults(narrow));
            match expected {
                "" => assert_eq!(checked, Ok(()), "{name}={value}"),
                expected => assert!(checked.is_err_and(|told| told.ends_with(expected)), "{name}={value}"),
            }
        }
        assert!(group_config("share.session.timeout.ms").is_none());
    }

    #[test]
    fn a_session_is_longer_than_the_interval_of_heartbeats() {
        let long = |name: &str| (name == "group.consumer.heartbeat.interval.ms").then_some("46000");
        let set = |value: &str| BTreeMap::from([(SESSION_TIMEOUT.to_owned(), value.to_owned())]);
        assert_eq!(check_all(&set("46001"), &defaults(long)), Ok(()));
        assert!(check_all(&set("46000"), &defaults(long)).is_err());
        assert!(check_all(&BTreeMap::new(), &defaults(long)).is_err());
    }
}
