//! The worked example - an unclean election loses acknowledged records - as a journal by hand, rendered.

use super::{
    Change, ExplainError, File, JOURNAL_FILE, MANIFEST_FILE, Manifest, Messages, Recorded, SCHEMA, STORY_FILE, explain,
    file, load, names, replay_command, run_json, run_lines,
};
use crate::{
    base::Time,
    check::{
        Cause, Claim, Ending, Expected, Plan,
        fixture::{expecting, journal, judge},
        story,
    },
    report::lesson::{Choice, Question},
    trace::{EventId, journal::hash_of},
};

const UNCLEAN: &str = "
    1 b1 up 1
    1 b2 up 1
    1 b3 up 1
    100 c1 chose orders-0 leader=1 epoch=0 isr=1,2,3 election=created why=created
    110 b1 leads orders-0 epoch=0 hw=0
    110 b2 follows orders-0 leader=1 epoch=0
    110 b3 follows orders-0 leader=1 epoch=0
    200 p1 send 0 orders o-0 acks=1
    201 b1 append orders-0 leader e0 0..1
    202 b1 answer orders-0 acks=1 0..1 e0 isr=1,2,3 hw=0
    202 p1 acked 0 orders-0 0
    203 b2 append orders-0 follower e0 0..1
    203 b3 append orders-0 follower e0 0..1
    204 b1 hw orders-0 leader e0 1
    512 scenario step 1 cut b1 | b2,b3
    601 p1 send 1 orders o-1 acks=1
    602 b1 append orders-0 leader e0 1..2
    602 b1 answer orders-0 acks=1 1..2 e0 isr=1,2,3 hw=1
    603 p1 acked 1 orders-0 1
    701 p1 send 2 orders o-2 acks=1
    702 b1 append orders-0 leader e0 2..3
    702 b1 answer orders-0 acks=1 2..3 e0 isr=1,2,3 hw=1
    703 p1 acked 2 orders-0 2
    1803 c1 chose orders-0 leader=1 epoch=0 isr=1 why=behind-for-1000-ms
    1804 b1 hw orders-0 leader e0 3
    2011 scenario step 2 crash b1 kill
    2011 b1 kill
    2914 c1 fence 1 session ended
    2914 c1 chose orders-0 leader=2 epoch=1 isr=2 election=unclean why=no-ISR-member-is-alive
    2920 b2 leads orders-0 epoch=1 hw=1
    2921 b3 follows orders-0 leader=2 epoch=1 hw=1
    3000 scenario step 3 heal all; restart b1
    3500 b1 up 2
    3600 b1 load orders-0 hw=1 0..1 1..2 2..3
    3900 b1 follows orders-0 leader=2 epoch=1 hw=1
    3980 b1 cut orders-0 3 1 leader-epoch
    5000 audit position orders-0 0 start
    5001 audit read orders-0 0 o-0
    5002 audit end orders-0 1
";

pub(super) fn recorded() -> Recorded {
    let mut plan =
        expecting(Claim::AckedRecordsSurvive, Expected::Violated, Some((2, Cause::LeaderElectedWithoutThem)));
    plan.topics = [("orders".into(), [("min.insync.replicas".into(), "1".into())].into())].into();
    let ending = Ending { marks: vec!["unclean_election".into()], ..Ending::default() };
    let verdict = judge(UNCLEAN, Plan { must_reach: ending.marks.clone(), ..plan.clone() }, &ending);
    let entries = journal(UNCLEAN);
    let manifest = Manifest {
        schema: SCHEMA.into(),
        highwater: "0.1.0".into(),
        scenario: "03-unclean-election".into(),
        path: "scenarios/03-unclean-election.toml".into(),
        title: "Unclean election loses acknowledged records".into(),
        teaches: Some("A promise is as good as the set of brokers that may lead next".into()),
        variant: Some("acks=1, again".into()),
        set: Vec::new(),
        latest_ns: Vec::new(),
        changes: vec![Change { key: "client.p1.acks".into(), from: Some("all".into()), to: "1".into() }],
        seed: 7,
        verdict,
        trace_hash: hash_of(&entries),
        events: entries.len() as u64,
        simulated_ns: Time(5_002_000_000),
        ending,
        stories: Vec::new(),
        lesson: Vec::new(),
        plan,
        config: serde_json::json!({"acks": "1"}),
        scenario_text: "title = \"Unclean election\"\n".into(),
        drawn: None,
        branches_left_out: 0,
    };
    Recorded { manifest, entries, messages: Messages::default(), branches: Vec::new() }
}

fn files(run: &Recorded) -> Vec<File> {
    names(run).into_iter().map(|name| file(run, name)).collect()
}

fn text(files: &[File], name: &str) -> String {
    let file = files.iter().find(|file| file.name == name).expect("a run has this file");
    String::from_utf8(file.bytes.clone()).expect("every file is text")
}

#[test]
fn the_story_of_an_unclean_election() {
    insta::assert_snapshot!(text(&files(&recorded()), STORY_FILE));
}

#[test]
fn the_lines_for_a_terminal_name_the_loss_its_reason_and_the_command() {
    let run = recorded();
    insta::assert_snapshot!("terminal", run_lines(&run.manifest));
    insta::assert_snapshot!("json", run_json(&run.manifest));
    let plain = Manifest { variant: None, ..run.manifest };
    assert_eq!(replay_command(&plain), "cargo sim replay scenarios/03-unclean-election.toml --seed 7");
}

#[test]
fn a_run_reads_back_from_its_files_and_renders_to_the_same_bytes() {
    let run = recorded();
    let written = files(&run);
    let back = load(&text(&written, MANIFEST_FILE), &text(&written, JOURNAL_FILE)).unwrap();
    assert_eq!(back, run);
    assert_eq!(files(&back), written);
}

#[test]
fn explain_tells_of_lost_and_kept_records_and_refuses_unknown_ones() {
    let run = recorded();
    let all = explain(&run, None).unwrap();
    assert!(all.contains("LOST orders-0@1 e0") && all.contains("@ 2 shares this story from line"), "{all}");
    assert!(explain(&run, Some("orders-0@2")).unwrap().contains("<- DECISIVE"));
    insta::assert_snapshot!("kept", explain(&run, Some("orders-0@0")).unwrap());
    let unknown = explain(&run, Some("orders-0@9")).unwrap_err().to_string();
    assert!(unknown.contains("no log ever had a record there"), "{unknown}");
    assert_eq!(explain(&run, Some("orders-0")), Err(ExplainError::Record("orders-0".into())));
}

#[test]
fn a_damaged_run_is_refused_with_file_and_line() {
    let written = files(&recorded());
    let (manifest, journal) = (text(&written, MANIFEST_FILE), text(&written, JOURNAL_FILE));
    let error = |manifest: &str, journal: &str| load(manifest, journal).unwrap_err().to_string();
    assert!(error("{", &journal).starts_with("run.json: "));
    assert!(error(&manifest.replace(SCHEMA, "highwater/run/9"), &journal).contains("this version reads"));
    let no_event = error(&manifest, &journal.replacen("\"kind\"", "\"sort\"", 2));
    assert!(no_event.starts_with("events.jsonl:1:") && !no_event.contains("at line"), "{no_event}");
    assert!(error(&manifest.replacen("\"hw-monotonic\"", "\"order-kept\"", 1), &journal).contains("hw-monotonic"));
    let cut = journal.rfind("\n{").expect("there are two lines");
    let cut = error(&manifest, &journal[..cut]);
    assert!(cut.contains("38 events, run.json says 39") && cut.contains("cargo sim run "), "{cut}");
    assert!(error(&manifest, &journal.replacen("o-1", "o-2", 1)).contains("its hash is"));
}

/// The words in the first cells of the table below `heading` in `docs/run-json.md`.
fn documented(heading: &str) -> Vec<String> {
    let text = include_str!("../../docs/run-json.md");
    let section = text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let key = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
    section.filter_map(key).collect()
}

fn keys(value: &serde_json::Value) -> Vec<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn every_key_of_the_manifest_is_documented_in_its_order() {
    let mut run = recorded();
    let manifest = &mut run.manifest;
    (manifest.set, manifest.latest_ns) = (vec!["client.p1.acks=all".into()], vec![1]);
    let mut stories = story::every(&run.entries, &manifest.plan, &manifest.verdict);
    stories[0].untold = 1;
    manifest.stories = stories;
    (manifest.branches_left_out, manifest.drawn) = (1, Some(manifest.scenario_text.clone()));
    let choices = vec![Choice { text: "8".into(), misconception: Some("They are committed.".into()) }];
    manifest.lesson = vec![Question {
        before: 3,
        event: Some(EventId(1)),
        ask: "How many?".into(),
        choices,
        answer: "5".into(),
        measured: Some("stored(orders-0)".into()),
        why: "So.".into(),
    }];
    let json: serde_json::Value = serde_json::from_str(&text(&files(&run), MANIFEST_FILE)).expect("it is JSON");
    assert_eq!(documented("# run.json"), keys(&json));
    assert_eq!(documented("## A story"), keys(&json["stories"][0]));
    assert_eq!(documented("## A question"), keys(&json["lesson"][0]));
}
