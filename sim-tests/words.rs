//! The words: stories and what other settings would have done, two runs beside each other, lessons.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Left, highwater, left, root, run};

/// Runs a scenario into a folder; its manifest, its story, and where they lie.
fn told(scenario: &str, variant: Option<&str>) -> (Value, String, TempDir, PathBuf) {
    let out = tempfile::tempdir().expect("there is room for a report");
    let mut command = highwater();
    command.args(["run", scenario, "--out"]).arg(out.path()).args(variant.iter().flat_map(|name| ["--variant", name]));
    let left = left(&mut command);
    assert_eq!(left.exit, 0, "{left:?}");
    let page = left.stdout.lines().find_map(|line| line.trim().strip_prefix("report: ")).expect("a report is told");
    let folder = PathBuf::from(page).parent().expect("it lies in a folder").to_owned();
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the run wrote it");
    let manifest = serde_json::from_str(&read("run.json")).expect("a manifest is JSON");
    (manifest, read("story.txt"), out, folder)
}

/// Scenario, variant, kind of a story, what its text says, how many of its sentences name settings.
type Told = (&'static str, Option<&'static str>, &'static str, &'static [&'static str], usize);

/// What happens, and how it is told. Every sentence that names a setting has been tried, and running bears it out.
const STORIES: &[Told] = &[
    (
        "scenarios/01-acks-one-leader-crash.toml",
        None,
        "lost",
        &["LOST orders-0@4 e0", "<- PROMISE", "<- DECISIVE", "<- LAST COPY GONE", "the promise needed {b1}"],
        2,
    ),
    ("scenarios/02-isr-shrinks-to-one.toml", None, "lost", &["took b2, which had no copy"], 2),
    ("scenarios/03-unclean-election.toml", None, "lost", &["acks=all alone would NOT have saved it"], 3),
    ("scenarios/04-truncate-to-high-watermark.toml", None, "lost", &["b3 had a copy and threw it away"], 2),
    ("scenarios/05-power-loss-before-flush.toml", None, "lost", &["in memory and not on disk"], 2),
    (
        "sim-tests/scenarios/stories/duplicate.toml",
        None,
        "duplicate",
        &["DUPLICATE orders-0@", "<- STORED AGAIN", "b2 had it already"],
        2,
    ),
    (
        "sim-tests/scenarios/stories/reordered.toml",
        None,
        "reordered",
        &["REORDERED orders-0@", "refused a produce with NOT_ENOUGH_REPLICAS", "<- OVERTAKEN"],
        2,
    ),
    (
        "sim-tests/scenarios/stories/read-then-truncated.toml",
        None,
        "read-then-truncated",
        &["READ AND LATER TRUNCATED orders-0@5", "r1        read it at offset 5  <- SHOWN", "<- DECISIVE"],
        2,
    ),
    (
        "sim-tests/scenarios/stories/read-then-truncated.toml",
        None,
        "high-watermark-moved-back",
        &["HIGH WATERMARK MOVED BACK orders-0", "<- MOVED BACK", "r1 has read up to"],
        2,
    ),
    (
        "scenarios/13-not-enough-replicas.toml",
        None,
        "refused",
        &[
            "REFUSED orders-0",
            "appended nothing: with acks=all it needs 2 in-sync replicas and has {b1}",
            "<- REFUSED",
            "gave a record up: NOT_ENOUGH_REPLICAS (and 44 more alike, to ",
        ],
        2,
    ),
    (
        "scenarios/18-refused-after-append.toml",
        None,
        "duplicate",
        &["p1 sent it again, for the answer was an error that may be tried again"],
        2,
    ),
    (
        "scenarios/18-refused-after-append.toml",
        None,
        "refused-after-append",
        &["REFUSED AFTER APPEND orders-0", "stays in its log", "not \"not stored\""],
        2,
    ),
    (
        "scenarios/03-unclean-election.toml",
        Some("unclean election forbidden"),
        "offline",
        &[
            "OFFLINE orders-0",
            "<- OFFLINE",
            "a leader has to come from the ISR, {b1}",
            "its leader b1 had been dead for ",
        ],
        1,
    ),
];

#[test]
fn each_kind_of_story_is_told_and_what_would_have_helped_was_tried() {
    for (scenario, variant, kind, words, tried) in STORIES {
        let (manifest, text, ..) = told(scenario, *variant);
        let stories = manifest["stories"].as_array().unwrap_or_else(|| panic!("{scenario} has stories"));
        let story = stories.iter().find(|story| story["kind"] == *kind);
        let story = story.unwrap_or_else(|| panic!("{scenario} has a story of the kind {kind}"));
        for word in *words {
            assert!(text.contains(word), "{scenario}: expected `{word}` in\n{text}");
        }
        let sentences = story["therefore"].as_array().expect("a story has a conclusion");
        let what_ifs: Vec<&Value> = sentences.iter().map(|sentence| &sentence["what_if"]).collect();
        let what_ifs: Vec<&Value> = what_ifs.into_iter().filter(|what_if| !what_if.is_null()).collect();
        assert_eq!(what_ifs.len(), *tried, "{scenario}: {kind}: {sentences:#?}");
        for what_if in what_ifs {
            assert_eq!(what_if["ran"]["confirms"], true, "{scenario}: {kind}: {what_if:#}");
        }
        assert!(text.contains("Confirmed by running: "), "{scenario}");
    }
}

#[test]
fn every_lost_record_is_told_of_other_settings_only_what_was_tried() {
    for scenario in ["scenarios/23-unclean-divergence.toml", "scenarios/32-middle-of-a-batch.toml"] {
        let (_, story, _out, folder) = told(scenario, None);
        let explained = left(highwater().arg("explain").arg(&folder)).stdout;
        for text in [story, explained] {
            let sentences: Vec<&str> = text.lines().filter(|line| line.contains("It would have lived with")).collect();
            assert!(!sentences.is_empty(), "{scenario}: {text}");
            for sentence in sentences {
                assert!(sentence.contains("Confirmed by running: "), "{scenario}: {sentence}");
            }
        }
    }
}

#[test]
fn settings_are_tried_under_the_same_faults_and_replay_as_they_were_run() {
    let scenario = "scenarios/03-unclean-election.toml";
    let (helps, not) = ("topic.orders.unclean.leader.election.enable=false", "client.p1.acks=all");
    assert_eq!(run(["run", scenario, "--no-report", "--set", helps]).exit, 0, "{helps} helps");
    let out = tempfile::tempdir().expect("there is room for a report");
    let lost = left(highwater().args(["run", scenario, "--set", not, "--out"]).arg(out.path()));
    assert_eq!(lost.exit, 1, "{not} does not help: {lost:?}");
    assert!(lost.stdout.contains(&format!("--seed 7 --set {not}\n")), "{lost:?}");
    let manifest = out.path().join("03-unclean-election/seed-7-client-p1-acks-all/run.json");
    let again = left(highwater().arg("replay").arg(&manifest));
    assert!(again.exit == 1 && again.stderr.contains("same trace hash as the recorded run"), "{again:?}");
    for (wrong, words) in [
        ("topic.order.flush.messages=1", "`order` is not a topic; did you mean `orders`?"),
        ("client.p1.acks", "expected KEY=VALUE"),
        ("client.p1.acks=al", "expected 0, 1 or all"),
        ("cluster.racks=[\"r1\"", "cluster.racks"),
    ] {
        let Left { exit, stderr, .. } = run(["run", scenario, "--no-report", "--set", wrong]);
        assert!(exit == 64 && stderr.contains("--set: ") && stderr.contains(words), "{wrong}: {stderr}");
    }
}

#[test]
fn two_runs_stand_beside_each_other() {
    let scenario = "scenarios/03-unclean-election.toml";
    let (.., a_dir, a) = told(scenario, None);
    let (.., b_dir, b) = told(scenario, Some("acks=all, min ISR 2"));
    let text = left(highwater().arg("diff").args([&a, &b]));
    assert_eq!(text.exit, 0, "{text:?}");
    for words in [
        "clients.p1.acks: 1 in A, all in B",
        "topics.orders.min.insync.replicas: 1 in A, 2 in B",
        "step 2: when (acked(p1) == 8 and isr(orders-0) == [b1])",
        "acknowledged records lost: 3 of 8 in A, 0 of 8 in B",
        "acked-records-survive: VIOLATED in A, held in B",
        "config_changed topic=orders name=min.insync.replicas value=2",
        "read to the end, 5",
    ] {
        assert!(text.stdout.contains(words), "expected `{words}` in\n{}", text.stdout);
    }
    let json = left(highwater().arg("diff").args([&a, &b]).args(["--format", "json"]));
    let json: Value = serde_json::from_str(&json.stdout).expect("one object");
    assert_eq!(json["schema"], "highwater/diff/1");
    assert!(json["first_divergent_event"]["a"]["id"].is_u64(), "{json}");
    let same = left(highwater().arg("diff").args([&a, &a]));
    assert!(same.stdout.contains("both runs are the same, event by event"), "{same:?}");
    let (.., c_dir, c) = told("scenarios/01-acks-one-leader-crash.toml", None);
    let other = left(highwater().arg("diff").args([&a, &c]));
    assert!(other.exit == 64 && other.stderr.contains("runs of different scenarios"), "{other:?}");
    drop((a_dir, b_dir, c_dir));
}

#[test]
fn explain_tells_the_life_of_every_record_that_was_ever_in_a_log() {
    let (.., out, folder) = told("sim-tests/scenarios/stories/duplicate.toml", None);
    for (offset, words) in [(0, "KEPT orders-0@0"), (5, "UNPROMISED orders-0@5"), (6, "KEPT orders-0@6")] {
        let told = left(highwater().arg("explain").arg(&folder).args(["--record", &format!("orders-0@{offset}")]));
        assert!(told.exit == 0 && told.stdout.contains(words), "{told:?}");
    }
    let all = left(highwater().arg("explain").arg(&folder));
    assert!(all.stdout.contains("DUPLICATE orders-0@5 and @6"), "{all:?}");
    let none = left(highwater().arg("explain").arg(&folder).args(["--record", "orders-0@99"]));
    assert!(none.exit == 64 && none.stderr.contains("its logs went up to 13"), "{none:?}");
    drop(out);
}

const LESSON: &str = "scenarios/03-unclean-election.toml";

/// What `lesson` prints with these arguments, into a folder of its own.
fn lesson(scenario: &str, arguments: &[&str]) -> Left {
    let out = tempfile::tempdir().expect("there is room for a report");
    left(highwater().args(["lesson", scenario, "--out"]).arg(out.path()).args(arguments))
}

#[test]
fn a_lesson_asks_before_it_shows_and_explains_after_the_answer() {
    let asked = lesson(LESSON, &[]);
    assert!(asked.exit == 0 && asked.stdout.contains("Question 2, before step 3"), "{asked:?}");
    for word in ["LOST", "Right", "Measured", "truncated", "read to the end"] {
        assert!(!asked.stdout.contains(word), "no answer was given, and it says `{word}`:\n{}", asked.stdout);
    }
    let answered = lesson(LESSON, &["--answers", "b,5"]);
    for word in [
        "You said 5; the run says a) 4.",
        "Why not: That is where its log ends.",
        "Measured: hw(orders-0, b2) at step 2 = 4",
        "Right: b) 5.",
        "1 of 2 right.",
        "LOST 3 of 8",
    ] {
        assert!(answered.stdout.contains(word), "expected `{word}` in\n{}", answered.stdout);
    }
    for (answers, words) in
        [("b,7", "answer 2: expected the letter of an answer, a to c"), ("a,b,c", "3 answers for 2")]
    {
        let wrong = lesson(LESSON, &["--answers", answers]);
        assert!(wrong.exit == 64 && wrong.stdout.is_empty() && wrong.stderr.contains(words), "{wrong:?}");
    }
}

#[test]
fn the_handout_tells_nothing_that_the_key_tells() {
    let (handout, labs) = (lesson(LESSON, &["--handout"]), lesson(LESSON, &["--labs"]));
    let (key, slides) = (lesson(LESSON, &["--key"]), lesson(LESSON, &["--slides"]));
    assert!(handout.stdout.contains("- [ ] b) 5") && !handout.stdout.contains("[x]"), "{}", handout.stdout);
    assert!(!handout.stdout.contains("LOST") && !handout.stdout.contains("Why:"), "{}", handout.stdout);
    assert!(labs.stdout.contains("\nA. ") && !labs.stdout.contains("DECISIVE"), "{}", labs.stdout);
    assert!(key.stdout.contains("\nWhat the scenario sets:\n"), "{}", key.stdout);
    for word in ["- [x] a) 4", "(measured: `stored(orders-0)`)", "The story in order: ", "The decisive moment: line "] {
        assert!(key.stdout.contains(word), "expected `{word}` in\n{}", key.stdout);
    }
    assert!(slides.stdout.contains("1. [Observe: step 1, cut b1 | b2,b3]("), "{}", slides.stdout);
    assert!(slides.stdout.contains("report.html#e=") && slides.stdout.contains("&l=1"), "{}", slides.stdout);
}

#[test]
fn a_lesson_that_asks_nothing_or_refers_to_nothing_is_refused_with_its_place() {
    let silent = "sim-tests/scenarios/stories/duplicate.toml";
    let refused = lesson(silent, &[]);
    assert!(refused.exit == 64 && refused.stderr.contains(&format!("{silent}:1:1: this scenario asks nothing")));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = fs::read_to_string(root().join(LESSON)).expect("the scenario is there");
    for (from, to, words) in [
        (
            "hw(orders-0, b2) at step 2",
            "hw(order-0, b2) at step 2",
            "`order-0` is not a partition; did you mean `orders-0`?",
        ),
        ("hw(orders-0, b2) at step 2", "hw(orders-0, b2) at step 9", "there is no step 9; the scenario has 3"),
        ("stored(orders-0)", "stored(orders-0) at step 2", "`stored(orders-0)` is known at the end only"),
        ("stored(orders-0)", "verdict(no-duplicate)", "`no-duplicate` is not a claim; did you mean `no-duplicates`?"),
        ("before  = \"step 3\"", "before  = \"step 4\"", "there is no step 4"),
    ] {
        assert!(text.contains(from), "`{from}` is in {LESSON}");
        let path = folder.path().join("lesson.toml").display().to_string();
        fs::write(&path, text.replace(from, to)).expect("the file can be written");
        let Left { exit, stderr, .. } = lesson(&path, &[]);
        let is_told = stderr.starts_with(&format!("{path}:")) && stderr.contains(words);
        assert!(exit == 64 && is_told, "{to}: expected `{words}` in {stderr}");
    }
}

#[test]
fn a_question_is_asked_in_the_variants_that_it_names() {
    for (scenario, variant, asked) in [
        ("scenarios/01-acks-one-leader-crash.toml", None, 2),
        ("scenarios/01-acks-one-leader-crash.toml", Some("acks=all"), 1),
        ("scenarios/03-unclean-election.toml", Some("acks=all, min ISR still 1"), 2),
        ("scenarios/03-unclean-election.toml", Some("acks=all, min ISR 2"), 0),
    ] {
        let (manifest, ..) = told(scenario, variant);
        let questions = manifest["lesson"].as_array().map_or(0, Vec::len);
        assert_eq!(questions, asked, "{scenario} {variant:?}: {}", manifest["lesson"]);
    }
    let refused = lesson("scenarios/03-unclean-election.toml", &["--variant", "acks=all, min ISR 2"]);
    assert!(refused.exit == 64 && refused.stderr.contains("no question is asked in this run"), "{refused:?}");
}

#[test]
fn a_break_lab_is_judged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mine.toml").display().to_string();
    let crash_loop = "scenarios/06-leader-crash-loop.toml";
    let text = fs::read_to_string(root().join(crash_loop)).expect("the scenario is there");
    let begin = text.find("[[step]]").expect("the scenario has steps");
    let story = |steps: &str| format!("{}{steps}\n", text[..begin].replace("must_reach", "#"));
    let power = "[[step]]\nwhen = \"acked(p1) >= 20\"\ndo = \"crash brokers power\"\n\n[[step]]\nafter = \"1s\"\ndo = \"restart stopped\"";
    fs::write(&path, story(power)).expect("the file can be written");
    let broken = lesson(crash_loop, &["--break", &path]);
    assert!(
        broken.exit == 0 && broken.stdout.starts_with("BROKEN: ") && broken.stdout.contains("in 2 steps"),
        "{broken:?}"
    );
    assert!(
        broken.stdout.contains("fewer are enough") && broken.stdout.contains("1 step with 1 action\n"),
        "{broken:?}"
    );
    assert!(broken.stdout.contains("    when acked(p1) >= 20: crash brokers power\n"), "{broken:?}");
    fs::write(&path, story(power.split("\n\n").next().expect("a step"))).expect("the file can be written");
    let shortest = lesson(crash_loop, &["--break", &path]);
    assert!(shortest.exit == 0 && shortest.stdout.contains("every step and action is needed"), "{shortest:?}");
    fs::write(&path, story("[[step]]\nwhen = \"acked(p1) >= 20\"\ndo = \"nothing\"")).expect("the file can be written");
    let held = lesson(crash_loop, &["--break", &path]);
    assert!(held.exit == 1 && held.stdout.starts_with("HELD: none of 300"), "{held:?}");
    let cheat = story(power).replace("acks                 = \"all\"", "acks = \"1\"").replace("= true", "= false");
    fs::write(&path, cheat).expect("the file can be written");
    let refused = lesson(crash_loop, &["--break", &path]);
    assert!(refused.exit == 64 && refused.stderr.contains("client `p1`"), "{refused:?}");
}
