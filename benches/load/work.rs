//! What is measured, by the first word of the command line.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use highwater::{
    protocol::{
        ErrorCode,
        messages::{OffsetFetchRequest, RequestKind, ResponseKind, offset_fetch_request::OffsetFetchRequestGroup},
    },
    rpc::Connection,
    runtime::real,
};
use tokio::{sync::Barrier, task::JoinSet, time::sleep};

use super::member::*;

/// Commits a second by `clients`, each of a group of its own and waiting for each answer; counted after a second.
async fn commits(broker: String, clients: usize, seconds: u64) {
    let done = Arc::new(AtomicU64::new(0));
    for client in 0..clients {
        let (broker, done) = (broker.clone(), done.clone());
        tokio::spawn(async move {
            let member = Member::new(&broker, &format!("commits-{client}")).await;
            for offset in 0.. {
                match ErrorCode::from_i16(member.commit(1, offset).await) {
                    ErrorCode::None => done.fetch_add(1, Ordering::Relaxed),
                    ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => continue,
                    code => panic!("OffsetCommit: {code}"),
                };
            }
        });
    }
    sleep(Duration::from_secs(2)).await;
    let (before, begun, used) = (done.load(Ordering::Relaxed), Instant::now(), processor_seconds());
    sleep(Duration::from_secs(seconds)).await;
    let took = begun.elapsed().as_secs_f64();
    println!("{:.0} {:.2}", (done.load(Ordering::Relaxed) - before) as f64 / took, (processor_seconds() - used) / took);
}

/// Milliseconds from the last heartbeat of a member that then falls silent to the new assignment of the other, which
/// asks every 10 ms.
async fn death(broker: String, consumer: bool) {
    let group = format!("death-{}-{}", if consumer { "consumer" } else { "classic" }, std::process::id());
    let (mut one, mut other) = (Member::new(&broker, &group).await, Member::new(&broker, &group).await);
    let pause = Duration::from_millis(10);
    let begun = if consumer {
        one.enter("one").await;
        other.enter("other").await;
        while one.owns() != 500 || other.owns() != 500 {
            one.follow(false).await;
            other.follow(false).await;
        }
        one.beat(false, false).await;
        let begun = Instant::now();
        while other.owns() != 1000 {
            sleep(pause).await;
            other.follow(false).await;
        }
        begun
    } else {
        one.settle().await;
        let joining = tokio::spawn(async move {
            other.settle().await;
            other
        });
        while !one.heartbeat().await {
            sleep(pause).await;
        }
        one.settle().await;
        let mut other = joining.await.expect("it has joined");
        one.heartbeat().await;
        let begun = Instant::now();
        while !other.heartbeat().await {
            sleep(pause).await;
        }
        other.settle().await;
        begun
    };
    println!("{}", begun.elapsed().as_millis());
}

/// `groups` groups of 3 members, a connection each, heartbeat every 3 s for `seconds`; says when all are there.
async fn heartbeats(broker: String, consumer: bool, groups: usize, seconds: u64) {
    let (ready, mut joining) = (Arc::new(Barrier::new(groups * 3 + 1)), JoinSet::new());
    let at_once = Arc::new(tokio::sync::Semaphore::new(64));
    for group in 0..groups {
        let (broker, ready, at_once) = (broker.clone(), ready.clone(), at_once.clone());
        joining.spawn(async move {
            let turn = at_once.acquire().await.expect("it is never closed");
            let mut members = Vec::new();
            for member in 0..3 {
                let mut new = Member::new(&broker, &format!("heartbeats-{consumer}-{group}")).await;
                if consumer {
                    new.enter(&format!("member-{member}")).await;
                }
                members.push(new);
            }
            if consumer {
                while members.iter().map(Member::owns).sum::<usize>() != 1000
                    || members.iter().any(|one| one.owns() < 333)
                {
                    for member in &mut members {
                        member.follow(false).await;
                    }
                }
            } else {
                // All within the initial delay of the rebalance.
                let mut all = JoinSet::new();
                for mut member in members.drain(..) {
                    all.spawn(async move {
                        member.settle().await;
                        member
                    });
                }
                members = all.join_all().await;
            }
            drop(turn);
            let mut beating = JoinSet::new();
            for (place, mut member) in members.into_iter().enumerate() {
                let ready = ready.clone();
                beating.spawn(async move {
                    member.stay_until(&ready, consumer).await;
                    // Spread over the interval.
                    sleep(Duration::from_millis((group * 3 + place) as u64 % 3000)).await;
                    loop {
                        member.stay(consumer).await;
                        sleep(Duration::from_secs(3)).await;
                    }
                });
            }
            beating.join_all().await;
        });
    }
    ready.wait().await;
    println!("ready");
    let used = processor_seconds();
    sleep(Duration::from_secs(seconds)).await;
    println!("{:.2}", processor_seconds() - used);
}

/// Milliseconds that a rebalance of 100 members takes: all join again at once, each with new userdata, until the last
/// has its partitions; with the newer protocol one joins and all heartbeat without a pause. The median of 5.
async fn rebalance(broker: String, consumer: bool) {
    let mut members = Vec::new();
    for _ in 0..100 {
        members.push(Member::new(&broker, &format!("rebalance-{consumer}-{}", std::process::id())).await);
    }
    let mut took = Vec::new();
    if consumer {
        let mut last = members.pop().expect("a hundred");
        let total = |members: &[Member]| members.iter().map(Member::owns).sum::<usize>();
        for (place, member) in members.iter_mut().enumerate() {
            member.enter(&format!("member-{place:03}")).await;
        }
        for round in 0..6 {
            while total(&members) != 1000 || members.iter().any(|member| member.owns() < 10) {
                beat_all(&mut members).await;
            }
            last.owned.clear();
            let begun = Instant::now();
            last.enter("member-last").await;
            while last.owns() != 10 || total(&members) != 990 {
                beat_all(&mut members).await;
                last.follow(false).await;
            }
            if round > 0 {
                took.push(begun.elapsed());
            }
            last.leave(true).await;
        }
    } else {
        for round in 0..6 {
            let begun = Instant::now();
            let mut all = JoinSet::new();
            let barrier = Arc::new(Barrier::new(members.len()));
            for mut member in members.drain(..) {
                let barrier = barrier.clone();
                member.userdata = Some(round);
                all.spawn(async move {
                    barrier.wait().await;
                    member.settle().await;
                    member.stay_until(&barrier, false).await;
                    member
                });
            }
            members = all.join_all().await;
            took.push(begun.elapsed());
        }
        took.remove(0); // it has the initial delay
    }
    took.sort();
    println!("{:.1}", took[2].as_secs_f64() * 1000.0);
}

/// A heartbeat of each, at the same time.
async fn beat_all(members: &mut Vec<Member>) {
    let mut all = JoinSet::new();
    for mut member in members.drain(..) {
        all.spawn(async move {
            member.follow(false).await;
            member
        });
    }
    *members = all.join_all().await;
}

/// Commits of one group: `requests` times the first [`FILLED`] partitions.
async fn fill(broker: String, requests: i64) {
    let member = Member::new(&broker, "filled").await;
    for offset in 1..=requests {
        while member.commit(FILLED, offset).await != 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    println!("{requests}");
}

/// Waits until the broker serves, then until the filled group's offsets can be had: they are `offset`.
/// Milliseconds of both together, and of the second alone.
async fn fetch(broker: String, offset: i64) {
    let begun = Instant::now();
    let connection = loop {
        if let Ok(open) = Connection::connect(&broker, "load", PATIENCE).await
            && open.negotiate(PATIENCE).await.is_ok()
        {
            break open;
        }
        sleep(Duration::from_millis(2)).await;
    };
    let serves = begun.elapsed();
    loop {
        let group = OffsetFetchRequestGroup::default().with_group_id(text("filled").into()).with_topics(None);
        let request = RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
        let ResponseKind::OffsetFetch(response) = call(&connection, request, 8).await else {
            unreachable!("an answer is of its request's kind")
        };
        let group = &response.groups[0];
        if group.error_code == 0 {
            let found = group.topics.iter().flat_map(|topic| &topic.partitions);
            let right = found.filter(|one| one.committed_offset == offset).count();
            assert_eq!(right, FILLED as usize, "of the partitions have offset {offset}");
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    println!("{} {}", begun.elapsed().as_millis(), (begun.elapsed() - serves).as_millis());
}

/// Seconds of processor time that this process has used.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says what a process has used");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) / 100.0
}

pub fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("'{text}' is not a number"));
    let run = async move {
        match words[..] {
            [broker, "commits", clients, seconds] => {
                commits(broker.to_owned(), number(clients) as usize, number(seconds)).await;
            }
            [broker, "death", protocol] => death(broker.to_owned(), protocol == "consumer").await,
            [broker, "heartbeats", protocol, groups, seconds] => {
                let consumer = protocol == "consumer";
                heartbeats(broker.to_owned(), consumer, number(groups) as usize, number(seconds)).await;
            }
            [broker, "rebalance", protocol] => rebalance(broker.to_owned(), protocol == "consumer").await,
            [broker, "fill", requests] => fill(broker.to_owned(), number(requests) as i64).await,
            [broker, "fetch", offset] => fetch(broker.to_owned(), number(offset) as i64).await,
            _ => panic!(
                "commits CLIENTS SECONDS | death PROTOCOL | heartbeats PROTOCOL GROUPS SECONDS | rebalance PROTOCOL | fill REQUESTS | fetch OFFSET"
            ),
        }
    };
    real::block_on(2, run).expect("a runtime of two threads");
}
