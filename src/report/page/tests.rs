//! The page: that it carries the whole journal, is safe and alone, and stays small.

use serde_json::Value;

use super::{columns::columns, headline, markup, opening, render};
use crate::{
    base::{Offset, Time},
    check::{
        Claim, Expected, Status,
        story::{Kind, Line, Moment, Story},
    },
    report::{Branch, Messages, Recorded, tests::recorded},
    trace::{Event, EventId, journal::Entry},
};

/// Largest page of a run with 20,000 events.
const PAGE_BYTES_MAX: usize = 1_500_000;

/// The data that the page's scripts read.
fn data(page: &str) -> Value {
    let begin = page.find("id=\"run\">").expect("the page carries its run") + "id=\"run\">".len();
    let end = begin + page[begin..].find("</script>").expect("the element ends");
    serde_json::from_str(&page[begin..end]).expect("what the page carries is JSON")
}

/// The event `index` of columns, put together again as the page's scripts do.
fn event(columns: &Value, index: usize) -> Value {
    let kinds = columns["events"]["kind"].as_array().expect("a column");
    let kind = &columns["kinds"][kinds[index].as_u64().expect("a number") as usize];
    let row = kinds[..index].iter().filter(|other| **other == kinds[index]).count();
    let mut fields = serde_json::Map::from_iter([("kind".to_owned(), kind["name"].clone())]);
    for field in kind["fields"].as_array().expect("a list of columns") {
        let value = &field[2][row];
        let value = match field[1].as_str().expect("a type") {
            "text" if *value == -1 => Value::Null,
            "text" => columns["names"][value.as_u64().expect("a number") as usize].clone(),
            "batches" => value.as_array().expect("a list").iter().map(|number| batch(columns, number)).collect(),
            _ => value.clone(),
        };
        fields.insert(field[0].as_str().expect("a name").to_owned(), value);
    }
    Value::Object(fields)
}

fn batch(columns: &Value, number: &Value) -> Value {
    let values = columns["batches"][number.as_u64().expect("a number") as usize].as_array().expect("a batch").clone();
    let names = ["base_offset", "end_offset", "leader_epoch", "crc", "producer_id", "producer_epoch", "base_sequence"];
    names.map(str::to_owned).into_iter().zip(values).collect()
}

#[test]
fn every_event_comes_back_from_the_columns() {
    let entries = recorded().entries;
    let columns = columns(&entries);
    let mut time = 0;
    for (index, entry) in entries.iter().enumerate() {
        time += columns["events"]["time"][index].as_u64().unwrap();
        assert_eq!(time, entry.time.0, "time of event {}", entry.id.0);
        assert_eq!(event(&columns, index), serde_json::to_value(&entry.event).unwrap(), "event {}", entry.id.0);
    }
}

#[test]
fn the_page_says_the_verdict_the_command_and_the_lives_without_a_script() {
    let page = render(&recorded());
    for words in [
        "LOST 2 of 3 acknowledged records",
        "cargo sim replay scenarios/03-unclean-election.toml --seed 7 --variant &#39;acks=1, again&#39;",
        "DECISIVE",
        "LAST COPY GONE",
        "<b>Therefore</b>",
    ] {
        assert!(page.contains(words), "the page does not say `{words}`");
    }
    assert_eq!(render(&recorded()), page);
}

#[test]
fn the_page_opens_at_the_event_that_decided_the_loss_and_links_to_events_that_exist() {
    let run = recorded();
    let opens_at = opening::event(&run.manifest, &run.entries);
    let Event::PartitionChanged { election, .. } = &run.entries[opens_at.0 as usize - 1].event else {
        panic!("it opens at event {}", opens_at.0)
    };
    assert_eq!(*election, crate::trace::Election::Unclean);
    let page = render(&run);
    assert_eq!(data(&page)["opening"], opens_at.0);
    let links = page.split("href=\"#e=").skip(1).filter_map(|rest| rest.split_once('"')?.0.parse::<usize>().ok());
    let links: Vec<usize> = links.collect();
    assert!(links.len() > 10 && links.iter().all(|id| (1..=run.entries.len()).contains(id)), "{links:?}");
}

/// A story of one line, which it marks.
fn story(kind: Kind, event: u64, moment: Moment) -> Story {
    let (node, text) = ("b1".into(), "it happens".into());
    let line = Line { event: EventId(event), time: Time(event), node, text, copies: None, moment: Some(moment) };
    let partition = "orders-0".parse().expect("a partition");
    let (records, therefore) = (Vec::new(), Vec::new());
    Story { kind, partition, subject: "orders-0".into(), records, lines: vec![line], therefore, untold: 0 }
}

/// The run as if nothing had been lost, and `claim` alone had broken, as expected, `violations` times.
fn broken(claim: Claim, violations: u64) -> Recorded {
    let mut run = recorded();
    let verdict = &mut run.manifest.verdict;
    verdict.lost.clear();
    verdict.sentence = "None of 3 acknowledged records was lost. 1 broke as expected.".into();
    for finding in &mut verdict.findings {
        let is_it = finding.claim == claim;
        finding.status = if is_it { Status::ViolatedAsExpected } else { Status::Held };
        finding.expected = is_it.then_some(Expected::Violated);
        (finding.violations, finding.witnesses) = (if is_it { violations } else { 0 }, Vec::new());
    }
    run
}

#[test]
fn where_nothing_was_lost_the_page_opens_at_what_the_story_of_a_broken_claim_marks_or_else_at_the_first_mark() {
    let mut run = broken(Claim::ProcessedAtLeastOnce, 47);
    run.manifest.stories =
        vec![story(Kind::Refused, 9, Moment::Refused), story(Kind::Unprocessed, 21, Moment::Decisive)];
    assert_eq!(opening::event(&run.manifest, &run.entries), EventId(21));
    let mut run = broken(Claim::ClusterRecovers, 1);
    run.manifest.stories =
        vec![story(Kind::Duplicate, 17, Moment::StoredAgain), story(Kind::Refused, 9, Moment::Refused)];
    assert_eq!(opening::event(&run.manifest, &run.entries), EventId(9));
}

#[test]
fn the_headline_says_what_broke_where_nothing_was_lost() {
    let run = broken(Claim::ProcessedAtLeastOnce, 47);
    let (class, head, rest) = headline::of(&run.manifest.verdict);
    assert_eq!((class, &*head), ("lost", "47 records were never processed"));
    assert_eq!(rest, run.manifest.verdict.sentence);
    let run = recorded();
    assert_eq!(headline::of(&run.manifest.verdict).1, "LOST 2 of 3 acknowledged records");
}

#[test]
fn a_branch_tells_the_milestones_of_its_run_without_messages() {
    let run = recorded();
    let (branch, whole) = (Branch::of(&run), data(&render(&run)));
    let words = |data: &Value| -> Vec<Value> {
        data["milestones"].as_array().expect("a list").iter().map(|milestone| milestone[1].clone()).collect()
    };
    assert_eq!(words(&branch.page), words(&whole));
    let events = &branch.page["journal"]["events"];
    let causes: Vec<u64> = events["cause"].as_array().expect("a column").iter().filter_map(Value::as_u64).collect();
    assert!(causes.len() <= run.entries.len() && causes.iter().enumerate().all(|(index, back)| *back <= index as u64));
    let known = 1..=causes.len() as u64;
    let milestones = branch.page["milestones"].as_array().expect("a list");
    assert!(milestones.iter().all(|milestone| known.contains(&milestone[0].as_u64().expect("a number"))));
    let kinds = branch.page["journal"]["kinds"].as_array().expect("a list");
    assert!(kinds.iter().all(|kind| !kind["name"].as_str().expect("a name").starts_with("message_")), "{kinds:?}");
}

#[test]
fn the_matrix_has_a_line_for_the_run_and_each_branch() {
    let mut run = recorded();
    let mut branch = Branch::of(&run);
    branch.variant = Some("without step 1".into());
    (branch.lost, branch.unfired) = (0, vec![2]);
    run.branches.push(branch);
    run.manifest.branches_left_out = 4;
    let page = render(&run);
    for words in ["data-branch=\"0\"", "data-branch=\"1\"", "without step 1", "step 2 never came", "Showing 1 of 5."] {
        assert!(page.contains(words), "the page does not say `{words}`");
    }
    assert_eq!(data(&page)["branches"][0]["name"], "without step 1");
}

#[test]
fn what_comes_from_a_scenario_is_text_and_never_markup() {
    let hostile = "</script><script>alert(1)</script><!--\"'&{{data}}";
    let mut run = recorded();
    run.manifest.title = hostile.into();
    run.manifest.variant = Some(hostile.into());
    run.manifest.path = hostile.into();
    run.manifest.config = serde_json::json!({ hostile: hostile });
    run.manifest.verdict.sentence = format!("LOST: {hostile}");
    run.manifest.scenario_text = format!("note = '''{hostile}'''\n[[variant]]\nname = '''{hostile}'''\n");
    for entry in &mut run.entries {
        if let Event::RecordSent { value, .. } = &mut entry.event {
            *value = hostile.into();
        }
    }
    let (plain, page) = (render(&recorded()), render(&run));
    assert!(!page.contains("<script>alert") && !page.contains("<!--"), "markup came through");
    assert_eq!(page.matches("<script").count(), plain.matches("<script").count());
    assert_eq!(page.matches("id=\"run\"").count(), 1);
    let names = data(&page)["journal"]["names"].clone();
    assert!(names.as_array().unwrap().iter().any(|name| name == hostile), "the value is not what was sent");
}

#[test]
fn the_page_refers_to_nothing_outside() {
    let page = render(&recorded());
    for reference in ["http:", "https:", "src=", "@import", "url(\"", "fetch(", "XMLHttpRequest", "<link"] {
        assert!(!page.contains(reference), "the page contains `{reference}`");
    }
}

#[test]
fn a_page_of_20000_events_is_small() {
    let Recorded { manifest, entries, branches, .. } = recorded();
    let request = |id: u64, index: u64| {
        let sent = id % 2 == 1;
        let (api, correlation) = (if index.is_multiple_of(3) { "Produce" } else { "Fetch" }, (index / 3) as i32);
        match sent {
            true => Event::MessageSent { to: "b1".into(), api: api.into(), request: true, correlation, bytes: 1234 },
            false => Event::MessageDelivered {
                sent: EventId(id - 1),
                from: "p1".into(),
                api: api.into(),
                request: true,
                correlation,
            },
        }
    };
    let mut run = Recorded { manifest, entries, messages: Messages::default(), branches };
    while run.entries.len() < 20_000 {
        let id = run.entries.len() as u64 + 1;
        let event = match id % 4 {
            0 => Event::RecordSent {
                record: id / 4,
                topic: "orders".into(),
                partition: Some(0),
                key: None,
                value: format!("o-{id}").into(),
                acks: -1,
            },
            1 => Event::RecordAcked {
                record: id / 4,
                partition: "orders-0".parse().unwrap(),
                offset: Offset(id as i64 / 4),
            },
            _ => request(id, id / 4),
        };
        let (time, cause) = (Time(6_000_000_000 + id * 1_234_567), Some(EventId(id - 1)));
        run.entries.push(Entry { id: EventId(id), time, node: "p1".into(), cause, event });
    }
    let bytes = render(&run).len();
    assert!(bytes <= PAGE_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn what_fills_a_hole_is_not_searched_for_holes() {
    let fill = |hole: &str| format!("<{{{{{hole}}}}}>");
    assert_eq!(markup::fill("a {{b}} c {{d}}", fill), "a <{{b}}> c <{{d}}>");
}
