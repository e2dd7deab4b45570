//! How actions are written: each begins with its verb.

use super::{Action, BytesPerSecond, Crash, Link, Percent, VERBS};
use crate::{
    client::admin::ElectionType,
    runtime::DiskFault,
    scenario::{
        source::{Problem, duration, unknown},
        term::Term,
        words::Words,
    },
};

/// Reads a whole text, which stands at byte `at` of its file.
///
/// # Errors
/// It is no list of actions.
pub fn parse(text: &str, at: usize) -> Result<Vec<Action>, Problem> {
    let mut words = Words::of(text, at)?;
    let mut actions = vec![Action::read(&mut words)?];
    while words.sign(";") {
        actions.push(Action::read(&mut words)?);
    }
    if words.is_done() { Ok(actions) } else { Err(words.expected("`;` or the end")) }
}

impl Action {
    fn read(words: &mut Words) -> Result<Self, Problem> {
        let (at, verb) = words.word("an action, as `crash b1 kill`")?;
        match verb.as_str() {
            "crash" => {
                let target = read_nodes(words)?;
                match () {
                    () if words.keyword("kill") => Ok(Self::Crash(target, Crash::Kill)),
                    () if words.keyword("power") => Ok(Self::Crash(target, Crash::Power)),
                    () if words.keyword("torn") => Ok(Self::Crash(target, Crash::Torn)),
                    () => Err(words.expected(
                        "`kill` (the page cache stays), `power` (what was synced stays) or `torn` (that, and shreds of the rest)",
                    )),
                }
            }
            "stop" => read_nodes(words).map(Self::Stop),
            "restart" => {
                let target = read_nodes(words)?;
                Ok(if words.keyword("blank") { Self::RestartBlank(target) } else { Self::Restart(target) })
            }
            "pause" => read_nodes(words).map(Self::Pause),
            "resume" => read_nodes(words).map(Self::Resume),
            "cut" => read_link(words).map(Self::Cut),
            "slow" => {
                let link = read_link(words)?;
                let (at, delay) = words.word("a time, as 300ms")?;
                Ok(Self::Slow(link, duration(&delay).map_err(|message| Problem::at(at, message))?))
            }
            "hold" => Ok(Self::Hold(read_link(words)?, read_api(words)?)),
            "release" => Ok(Self::Release(read_link(words)?, read_api(words)?)),
            "drop" => Ok(Self::Drop(read_link(words)?, read_api(words)?, read_count(words)?)),
            "lose" => Ok(Self::Lose(read_link(words)?, read_percent(words)?)),
            "bandwidth" => Ok(Self::Bandwidth(read_link(words)?, read_rate(words)?)),
            "heal" if words.keyword("all") => Ok(Self::HealAll),
            "heal" => read_link(words).map(Self::Heal),
            "settle" => Ok(Self::Settle),
            "disk" => {
                let target = read_nodes(words)?;
                match () {
                    () if words.keyword("heal") => Ok(Self::HealDisk(target)),
                    () if words.keyword("corrupt") => {
                        let (partition, offset) = read_record(words)?;
                        Ok(Self::Corrupt(target, partition, offset))
                    }
                    () => Ok(Self::Disk(target, read_disk(words)?)),
                }
            }
            "clock" => {
                let target = read_nodes(words)?;
                if words.keyword("drift") {
                    return read_drift(words).map(|ppm| Self::Drift(target, ppm));
                }
                let (at, step) = words.word("a step of the clock, as +5s")?;
                let (negative, size) = match step.strip_prefix('-') {
                    Some(size) => (true, size),
                    None => (false, step.strip_prefix('+').unwrap_or(&step)),
                };
                let size = duration(size).map_err(|message| Problem::at(at, message))?;
                let ms = i64::try_from(size.as_millis()).unwrap_or(i64::MAX);
                Ok(Self::Clock(target, if negative { -ms } else { ms }))
            }
            "set" => {
                let (at, name) = words.word("a topic's setting, as `orders.min.insync.replicas=2`")?;
                let (topic, setting) = name
                    .split_once('.')
                    .ok_or_else(|| Problem::at(at, format!("expected `topic.setting=value`, found `{name}`")))?;
                words.need("=")?;
                let (_, value) = words.word("a value")?;
                Ok(Self::Set(topic.to_owned(), setting.to_owned(), value))
            }
            "elect" => {
                let kind = match () {
                    () if words.keyword("preferred") => ElectionType::Preferred,
                    () if words.keyword("unclean") => ElectionType::Unclean,
                    () => return Err(words.expected("`preferred` or `unclean`")),
                };
                Ok(Self::Elect(kind, Term::read(words)?))
            }
            "move" => {
                let (at, (partition, replicas)) = (words.at(), read_move(words)?);
                match replicas {
                    Some(_) => Ok(Self::Reassign(vec![(partition, replicas)])),
                    None => Err(Problem::at(at, "a move is cancelled by `reassign cancel orders-0`")),
                }
            }
            "reassign" => {
                let mut moves = vec![read_move(words)?];
                while words.sign(",") {
                    moves.push(read_move(words)?);
                }
                Ok(Self::Reassign(moves))
            }
            "fence" => read_nodes(words).map(Self::Fence),
            "delete" if words.keyword("topic") => read_topic(words).map(Self::DeleteTopic),
            "delete" => Err(words.expected("`topic` and its name, as `delete topic orders`")),
            "create" if words.keyword("topic") => read_topic(words).map(Self::CreateTopic),
            "create" => Err(words.expected("`topic` and its name, as `create topic orders`")),
            "delete-records" => {
                let partition = Term::read(words)?;
                if !words.keyword("before") {
                    return Err(words.expected("`before` and an offset, as `delete-records orders-0 before 10`"));
                }
                let (at, offset) = words.word("an offset, as 10")?;
                let before = offset.parse().ok().filter(|before| *before >= 0);
                let before = before.ok_or_else(|| Problem::at(at, format!("expected an offset, found `{offset}`")))?;
                Ok(Self::DeleteRecords(partition, before))
            }
            "nothing" => Ok(Self::Nothing),
            _ => Err(Problem::at(at, unknown("an action", &verb, VERBS.iter().map(|(verb, _, _)| *verb)))),
        }
    }
}

/// A node or a set of them; runs print `b1,b2`, and that is read like `[b1, b2]`.
fn read_nodes(words: &mut Words) -> Result<Term, Problem> {
    let first = Term::read(words)?;
    let mut all = vec![first];
    while words.sign(",") {
        all.push(Term::read(words)?);
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Term::List(all) })
}

/// `orders-0 to [b2, b3]`, or `cancel orders-0`.
fn read_move(words: &mut Words) -> Result<(Term, Option<Term>), Problem> {
    if words.keyword("cancel") {
        return Ok((Term::read(words)?, None));
    }
    let partition = Term::read(words)?;
    if !words.keyword("to") {
        return Err(words.expected("`to` and the replicas, as `move orders-0 to [b2, b3]`"));
    }
    Ok((partition, Some(Term::read(words)?)))
}

fn read_topic(words: &mut Words) -> Result<String, Problem> {
    words.word("a topic's name").map(|(_, topic)| topic)
}

fn read_link(words: &mut Words) -> Result<Link, Problem> {
    let from = read_nodes(words)?;
    let two_way = match words.one_of(&["|", ">"]) {
        Some(sign) => sign == "|",
        None => return Err(words.expected("`|` (both directions) or `>` (one)")),
    };
    Ok(Link { from, to: read_nodes(words)?, two_way })
}

fn read_disk(words: &mut Words) -> Result<DiskFault, Problem> {
    let (at, fault) = words.word("what is wrong with the disk, as `stall`, or `heal`")?;
    Ok(match fault.as_str() {
        "stall" => DiskFault::Stall,
        "slow" => {
            let (at, delay) = words.word("a time, as 50ms")?;
            DiskFault::Slow(duration(&delay).map_err(|message| Problem::at(at, message))?)
        }
        "full" => DiskFault::Full,
        "eio" => DiskFault::Eio,
        "sync-eio" => DiskFault::SyncEio,
        "lost-sync" => DiskFault::LostSync,
        _ => {
            let known = ["stall", "slow", "full", "eio", "sync-eio", "lost-sync", "corrupt", "heal"];
            return Err(Problem::at(at, unknown("what can be wrong with a disk", &fault, known)));
        }
    })
}

/// A record by its place.
fn read_record(words: &mut Words) -> Result<(Term, i64), Problem> {
    let (at, text) = words.word("a record by its place, as orders-0@10")?;
    let place = text.split_once('@').and_then(|(partition, offset)| Some((partition, offset.parse().ok()?)));
    let place = place.filter(|(_, offset)| *offset >= 0);
    let (partition, offset) = place
        .ok_or_else(|| Problem::at(at, format!("expected a record by its place, as orders-0@10, found `{text}`")))?;
    Ok((Term::Name(at, partition.to_owned()), offset))
}

fn read_drift(words: &mut Words) -> Result<i64, Problem> {
    let (at, text) = words.word("how much the clock gains, as 200ppm")?;
    let ppm = text.strip_suffix("ppm").and_then(|number| number.parse().ok());
    // Up to ten times as fast, down to a tenth.
    ppm.filter(|ppm| (-900_000..=9_000_000).contains(ppm))
        .ok_or_else(|| Problem::at(at, format!("expected millionths from -900000ppm to 9000000ppm, found `{text}`")))
}

fn read_api(words: &mut Words) -> Result<Term, Problem> {
    if !words.keyword("api") {
        return Err(words.expected("`api=NAME`, as `api=Fetch`"));
    }
    words.need("=")?;
    Term::read(words)
}

/// How many messages are dropped: one where nothing is said.
fn read_count(words: &mut Words) -> Result<u64, Problem> {
    if !words.keyword("n") {
        return Ok(1);
    }
    words.need("=")?;
    let (at, text) = words.word("a number, as n=3")?;
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| Problem::at(at, format!("expected a number from 1 to 1000000, found `{text}`")))
}

fn read_percent(words: &mut Words) -> Result<Percent, Problem> {
    let (at, text) = words.word("how many of a hundred packets are lost, as 5%")?;
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let percent = percent.filter(|percent| (1..=99).contains(percent)).map(Percent);
    percent.ok_or_else(|| Problem::at(at, format!("expected 1% to 99%, found `{text}`; `cut` loses everything")))
}

fn read_rate(words: &mut Words) -> Result<BytesPerSecond, Problem> {
    let (at, text) = words.word("bytes a second, as 1MB/s")?;
    let rate = BytesPerSecond::UNITS.iter().find_map(|(unit, size)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*size)
    });
    let rate = rate.filter(|rate| *rate > 0).map(BytesPerSecond);
    rate.ok_or_else(|| Problem::at(at, format!("expected bytes a second as 500B/s, 64kB/s or 1MB/s, found `{text}`")))
}
