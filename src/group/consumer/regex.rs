//! Subscriptions by regular expression: which topics match is found here, and kept in records.
//!
//! Expressions are those of RE2, which take time in proportion to expression and name; how large one may become when it
//! is compiled is bounded.

use std::{collections::BTreeSet, sync::Arc};

use regex::{Regex, RegexBuilder};

use super::{
    Decided, Member, Refusal,
    heartbeat::Beat,
    re2,
    records::{Change, GroupEpoch, Resolved},
};
use crate::{
    group::{
        machine::{Context, Outcome},
        records::Record,
        shard::Shard,
    },
    protocol::ErrorCode,
};

/// Between two searches of one group.
const REFRESH_INTERVAL_MIN_MS: i64 = 10_000;
/// How large an expression may become.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What a heartbeat said of its expression.
#[derive(Default)]
pub(super) struct RegexUpdate {
    /// It is another than before.
    pub changed: bool,
    /// And its topics are known.
    pub resolved: bool,
    /// The topics have to be searched.
    pub refresh: bool,
}

impl Shard {
    pub(super) fn update_regex(&self, beat: &mut Beat<'_>, context: &Context<'_>) -> Result<RegexUpdate, Refusal> {
        let group = beat.group;
        let (old, new) = (beat.before.regex().cloned(), beat.member.regex().cloned());
        let others = |regex: &Arc<str>| {
            group
                .members()
                .filter(|member| Some(&member.id) != beat.replaced.as_ref() && member.id != beat.member.id)
                .any(|member| member.regex() == Some(regex))
        };
        let mut update = RegexUpdate::default();
        if old.is_none() && new.is_none() && group.regexes.is_empty() {
            return Ok(update);
        }
        let mut tombstone: Option<Record> = None;
        if beat.before.subscription.regex != beat.member.subscription.regex {
            update.changed = true;
            if let Some(old) = old.as_ref().filter(|old| !others(old)) {
                tombstone = Some(group.record(Change::Regex(old.clone(), None)));
            }
            match &new {
                Some(new) if group.members().any(|member| member.regex() == Some(new)) => {
                    update.resolved = group.regexes.contains_key(new);
                }
                Some(new) => {
                    compile(new).map_err(|problem| {
                        let message =
                            format!("SubscribedTopicRegex `{new}` is not a valid regular expression: {problem}.");
                        (ErrorCode::InvalidRegularExpression, message)
                    })?;
                    update.refresh = true;
                }
                None => update.resolved = old.is_some(),
            }
        }
        beat.records.extend(tombstone);
        let members = beat.next_members();
        let used: BTreeSet<&Arc<str>> = members.iter().filter_map(Member::regex).collect();
        let resolved = group.regexes.values().next();
        let last_ms = resolved.map_or(i64::MIN / 2, |resolved| resolved.resolved_ms);
        let is_stale = used.len() != group.regexes.len()
            || resolved.map_or(0, |resolved| resolved.version) < self.topics.created()
            || context.wall_ms > last_ms.saturating_add(self.settings.consumer.regex_refresh_interval_ms);
        let may_search = !used.is_empty() && context.wall_ms > last_ms.saturating_add(REFRESH_INTERVAL_MIN_MS);
        update.refresh = may_search && (update.refresh || is_stale);
        Ok(update)
    }

    /// Searches the topics for all expressions of a group.
    pub(super) fn resolve_regexes(&self, id: &Arc<str>, context: &Context<'_>, out: &mut Outcome) {
        let group = &self.consumers[id];
        let members: Vec<Member> = group.members().collect();
        let used: BTreeSet<&Arc<str>> = members.iter().filter_map(Member::regex).collect();
        let mut records = Vec::new();
        let (mut bump, mut names) = (false, BTreeSet::new());
        for regex in used {
            // An expression from the log may be one of another version, which is not read here: it matches nothing.
            let compiled = compile(regex).ok();
            let matches = |name: &&Arc<str>| compiled.as_ref().is_some_and(|compiled| compiled.is_match(name));
            let topics: BTreeSet<Arc<str>> = self.topics.names().filter(matches).cloned().collect();
            bump |= group.regexes.get(regex).map_or(!topics.is_empty(), |before| before.topics != topics);
            names.extend(topics.iter().cloned());
            let resolved = Resolved { topics, version: self.topics.version(), resolved_ms: context.wall_ms };
            records.push(group.record(Change::Regex(regex.clone(), Some(Arc::new(resolved)))));
        }
        names.extend(members.iter().flat_map(|member| member.subscription.topics.iter().cloned()));
        let metadata_hash = self.topics.hash_of(names.iter());
        let mut events = Vec::new();
        if bump || metadata_hash != group.metadata_hash() {
            let epoch = group.epoch().wrapping_add(1);
            records.push(group.record(Change::Epoch(Some(GroupEpoch { epoch, metadata_hash }))));
            let why = "the topics that a regular expression matches have changed";
            events.extend(self.formed(group, epoch, &members, why));
        }
        if !records.is_empty() {
            out.write(records, Decided { events, ..Decided::default() }.into());
        }
    }
}

/// The expression, which has to match a whole name.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let text = re2::translated(text)?;
    // Parsed by itself first: `a)|(b` is no expression, in parentheses or not.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    let parsed = build(&text).and_then(|_| build(&format!("^(?:{text})$")));
    parsed.map_err(|problem| problem.to_string().lines().last().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_those_of_re2_and_match_whole_names() {
        let matches = |text: &str, name: &str| compile(text).unwrap().is_match(name);
        assert!(matches("t.*", "topic") && !matches("t.*", "at"));
        assert!(matches("a|topic", "topic") && !matches("a|topic", "atopic"));
        assert!(matches("(?i)TOPIC-[*+]+?", "topic-*+"));
        for bad in ["[", "a**", "a+*", "a{2}{3}", "a*??", "(?=x)", "a)|(b", "(", r"\1"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
        let problem = compile("((a{100}){100}){100}").unwrap_err();
        assert!(problem.contains("size limit"), "{problem}");
    }
}
