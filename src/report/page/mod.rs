//! `report.html`: the run as one page that needs nothing else - no network, no font, no library.
//!
//! The words stand in the page as they are rendered here ([`document`]): they can be read and printed without a script.
//! The drawings are made in the browser from the journal's columns ([`columns`]) by the scripts beside this file, which
//! follow each other in one closure; each begins by saying what it is. The same run gives the same bytes.

mod columns;
mod declared;
mod document;
mod headline;
mod lives;
mod markup;
mod opening;
mod rests_on;

use serde_json::{Value, json};

pub(super) use self::markup::escape;
use self::{columns::columns, document::Document, markup::json_in_script};
use super::{Branch, Recorded, milestones};
use crate::check::story::Moment;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Most bytes that what messages said may take in the page.
const MESSAGES_BYTES_MAX: usize = 400_000;

/// What chooses between the run and its branches, outside of the scripts that show one.
const BRANCHES: &str = include_str!("js/branches.js");

/// The scripts that show a run, in the order in which they need each other.
const SCRIPTS: &[&str] = &[
    include_str!("js/data.js"),
    include_str!("js/state.js"),
    include_str!("js/words.js"),
    include_str!("js/axis.js"),
    include_str!("js/draw.js"),
    include_str!("js/lanes.js"),
    include_str!("js/messages.js"),
    include_str!("js/partition.js"),
    include_str!("js/tracks.js"),
    include_str!("js/groups.js"),
    include_str!("js/group_lanes.js"),
    include_str!("js/group_text.js"),
    include_str!("js/strips.js"),
    include_str!("js/metrics.js"),
    include_str!("js/faults.js"),
    include_str!("js/inspector.js"),
    include_str!("js/search.js"),
    include_str!("js/beside.js"),
    include_str!("js/lesson.js"),
    include_str!("js/keys.js"),
    include_str!("js/main.js"),
];

/// What gives this page, and those beside it, their looks.
pub(super) fn style() -> &'static str {
    STYLE
}

/// The whole page.
pub(super) fn render(run: &Recorded) -> String {
    let document = Document::new(run);
    markup::fill(TEMPLATE, |hole| match hole {
        "style" => STYLE.to_owned(),
        "data" => json_in_script(&with_branches(run)),
        "script" => script(),
        part => document.part(part),
    })
}

/// All scripts as one closure; those that show a run are a function of its data.
fn script() -> String {
    let [show, ready] = [
        "showBranch(branchIn(location.hash));",
        "document.documentElement.dataset.ready = 'true';\nperformance.mark('ready');",
    ];
    let page = SCRIPTS.join("\n");
    format!("(() => {{\n'use strict';\n{BRANCHES}\nfunction page(data, life) {{\n{page}\n}}\n{show}\n{ready}\n}})();\n")
}

/// The run's data, with that of its branches.
fn with_branches(run: &Recorded) -> Value {
    let mut data = data(run);
    let branches = run.branches.iter().map(|branch| {
        let Branch { sentence, exit, lost, acked, events, page, .. } = branch;
        json!({
            "name": branch.name(), "sentence": sentence, "exit": exit, "acked": acked, "lost": lost, "events": events, "data": page,
        })
    });
    data["branches"] = branches.collect();
    data["path"] = run.manifest.path.clone().into();
    data["seed"] = run.manifest.seed.into();
    data
}

/// What the scripts read: the journal in columns, and what cannot be seen from events alone.
pub(super) fn data(run: &Recorded) -> Value {
    let Recorded { manifest, entries, messages, .. } = run;
    let opening = opening::event(manifest, entries);
    let milestones: Vec<Value> =
        milestones::told(entries).iter().map(|(entry, words)| json!([entry.id.0, words])).collect();
    let lost = manifest.verdict.lost.iter().map(|lost| {
        json!({
            "partition": lost.partition, "offset": lost.offset, "epoch": lost.life.leader_epoch, "producer": lost.producer,
            "record": lost.record, "acked": lost.acked, "gone": lost.life.moment(Moment::LastCopyGone),
        })
    });
    let lost: Vec<Value> = lost.collect();
    json!({
        "opening": opening.0,
        "milestones": milestones,
        "lost": lost,
        "topics": manifest.plan.topics,
        "journal": columns(entries),
        "messages": messages.around(opening, MESSAGES_BYTES_MAX),
        "messages_all": messages.len(),
    })
}

#[cfg(test)]
mod tests;
