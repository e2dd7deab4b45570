//! The words of the page: everything that can be read without a script.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{declared::Declared, headline, lives, markup::escape, rests_on};
use crate::{
    check::{Claim, Finding, Status, Witness},
    report::{
        BRANCHES_FILE, Branch, Change, JOURNAL_FILE, MANIFEST_FILE, Manifest, PERFETTO_FILE, Recorded, STORY_FILE,
        lesson::Question, missing, replay_command, run_command, shell_word, terminal,
    },
    trace::{Event, EventId},
};

/// Most claims whose status the matrix of branches writes out.
const CLAIMS_IN_WORDS_MAX: usize = 3;

/// Renders the parts of the page that are words.
pub(super) struct Document<'a> {
    run: &'a Recorded,
    manifest: &'a Manifest,
    declared: Declared,
}

impl<'a> Document<'a> {
    /// The words of `run`.
    pub(super) fn new(run: &'a Recorded) -> Self {
        let manifest = &run.manifest;
        Self { run, manifest, declared: Declared::read(&manifest.scenario_text) }
    }

    /// The part that the template calls `name`.
    pub(super) fn part(&self, name: &str) -> String {
        match name {
            "name" => escape(&terminal::run_name(self.manifest)),
            "where" => self.whereabouts(),
            "verdict" => self.verdict(),
            "replay" => escape(&replay_command(self.manifest)),
            "claims" => self.claims(),
            "lives" => lives::told_of(self.manifest),
            "branches" => self.branches(),
            "lesson" => self.lesson(),
            "questions" => self.questions(),
            "settings" => self.settings(),
            "files" => self.files(),
            other => panic!("the template has a hole `{other}` that nothing fills"),
        }
    }

    fn whereabouts(&self) -> String {
        let Manifest { scenario, seed, events, simulated_ns, highwater, trace_hash, variant, .. } = self.manifest;
        let variant = variant.as_ref().map(|variant| format!("<span>variant <b>{}</b></span>", escape(variant)));
        let switches = self
            .manifest
            .plan
            .switches
            .iter()
            .map(|(name, value)| format!("<span>switch <code>{} = {}</code></span>", escape(name), escape(value)));
        format!(
            "<b role=\"heading\" aria-level=\"1\">{}</b><span>seed {seed}</span>{}{}<span>{events} events, {simulated_ns} simulated</span>\
             <span>trace <code title=\"{trace_hash}\">{}</code></span><span>scenario <code title=\"SHA-256 of the file\">{}</code></span><span>Highwater {}</span>",
            escape(scenario),
            variant.unwrap_or_default(),
            switches.collect::<String>(),
            escape(trace_hash.get(..12).unwrap_or(trace_hash)),
            digits(&self.manifest.scenario_text),
            escape(highwater),
        )
    }

    /// The verdict: what counts as the headline, the rest below it.
    fn verdict(&self) -> String {
        let verdict = &self.manifest.verdict;
        let (class, head, rest) = headline::of(verdict);
        let complaints = verdict
            .complaints
            .iter()
            .map(|complaint| format!("<li><b>not as expected:</b> {}</li>", escape(complaint)));
        let complaints: String = complaints.collect();
        let complaints =
            if complaints.is_empty() { complaints } else { format!("<ul class=\"complaints\">{complaints}</ul>") };
        format!(
            "<h1 id=\"verdict\" tabindex=\"-1\" class=\"{class}\">{}.</h1><p class=\"sub\">{}</p>{complaints}<p class=\"sub title\">{}</p>",
            escape(&head),
            escape(&rest),
            escape(&self.manifest.title),
        )
    }

    /// Claims that say something of this run as a table; those that merely held behind a fold.
    fn claims(&self) -> String {
        let findings = self.manifest.verdict.findings.iter().filter(|finding| finding.concerns_the_run());
        let speaks = |finding: &&Finding| {
            finding.expected.is_some() || finding.status != Status::Held && finding.status != Status::NotExercised
        };
        let (first, rest): (Vec<&Finding>, Vec<&Finding>) = findings.partition(speaks);
        let table = |findings: &[&Finding], caption: &str| {
            let rows: String = findings.iter().map(|finding| self.claim(finding)).collect();
            format!(
                "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table class=\"claims\"><thead><tr><th scope=\"col\">claim</th><th scope=\"col\">rests on</th><th scope=\"col\">verdict</th>\
                 <th scope=\"col\">checked</th><th scope=\"col\">witnesses</th></tr></thead><tbody>{rows}</tbody></table></div>"
            )
        };
        let (shown, all) = (first.len(), first.len() + rest.len());
        let fold = if rest.is_empty() {
            String::new()
        } else {
            format!(
                "<details><summary>showing {shown} of {all} claims; the others held or were not exercised</summary>{}</details>",
                table(&rest, "The other claims")
            )
        };
        format!("{}{fold}", table(&first, "Claims"))
    }

    fn claim(&self, finding: &Finding) -> String {
        let Finding { claim, status, checks, violations, witnesses, note, .. } = finding;
        let class = class_of(*status);
        let settings = rests_on::settings(self.run, finding);
        let settings: Vec<String> =
            settings.iter().map(|setting| format!("<code>{}</code>", escape(setting))).collect();
        let settings = settings.join("<br>");
        let checked = match violations {
            0 => checks.to_string(),
            violations => format!("{violations} of {checks}"),
        };
        let told = |witness: &Witness| match witness.events.last() {
            Some(event) => link(*event, &witness.text),
            None => escape(&witness.text),
        };
        let mut evidence: Vec<String> = witnesses.iter().take(1).map(told).collect();
        if *violations > 1 {
            let more: Vec<String> = witnesses.iter().skip(1).map(told).collect();
            let (shown, more) = (witnesses.len(), more.join("<br>"));
            let counted = if shown as u64 == *violations { String::new() } else { format!(", showing {shown}") };
            evidence.push(format!("<details><summary>all {violations}{counted}</summary>{more}</details>"));
        }
        evidence.extend(note.iter().map(|note| format!("<span class=\"soft meaning\">{}</span>", escape(note))));
        format!(
            "<tr><td><b>{claim}</b><span class=\"soft meaning\">{}</span></td><td>{}</td><td class=\"v {class}\">{}</td>\
             <td class=\"num\">{checked}</td><td>{}</td></tr>",
            escape(claim.meaning()),
            settings,
            status.to_string().to_lowercase(),
            evidence.join(" "),
        )
    }

    /// The verdict matrix: the run and its branches, what each changes, what was lost, and the claims that tell them apart.
    fn branches(&self) -> String {
        let branches = &self.run.branches;
        if branches.is_empty() {
            let why = match missing(self.run).iter().find(|(name, _)| *name == BRANCHES_FILE) {
                Some((name, _)) => format!(
                    "The branches of this run are not here, for there was no {name} when this page was made. With them: <code>{}</code>",
                    escape(&run_command(self.manifest)),
                ),
                None => "This scenario has no variants and no steps, so there is nothing to change.".to_owned(),
            };
            return format!("<p class=\"soft\">{why}</p>");
        }
        let this = Branch::in_words(self.run);
        let tells = |claim: &&Claim| {
            let statuses = std::iter::once(&this).chain(branches).filter_map(|branch| branch.claims.get(claim));
            statuses.clone().any(|status| !matches!(status, Status::Held | Status::NotExercised))
        };
        let claims: Vec<Claim> = Claim::ALL.iter().filter(tells).copied().collect();
        let heads: String =
            claims.iter().map(|claim| format!("<th scope=\"col\"><span class=\"claim\">{claim}</span></th>")).collect();
        let rows: String = std::iter::once(&this)
            .chain(branches)
            .enumerate()
            .map(|(number, branch)| self.branch(number, branch, &claims))
            .collect();
        let shown = match self.manifest.branches_left_out {
            0 => String::new(),
            more => format!(" Showing {} of {}.", branches.len(), branches.len() + more),
        };
        // Of many claims only the signs are seen.
        let many = if claims.len() > CLAIMS_IN_WORDS_MAX { " many" } else { "" };
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Branches\"><table class=\"branches{many}\"><thead><tr><th scope=\"col\">key</th>\
             <th scope=\"col\">branch</th><th scope=\"col\">what it changes</th><th scope=\"col\">acknowledged</th><th scope=\"col\">lost</th>{heads}</tr></thead>\
             <tbody>{rows}</tbody></table></div>\
             <p class=\"soft\">Each is a run of its own with seed {}, in full with the command beside it. The key shows it in the drawings above.{shown}</p>",
            self.manifest.seed,
        )
    }

    fn branch(&self, number: usize, branch: &Branch, claims: &[Claim]) -> String {
        let manifest = self.manifest;
        let declared = self.declared.variant.iter().find(|variant| branch.variant.as_ref() == Some(&variant.name));
        let note = declared.and_then(|variant| variant.note.as_ref());
        let note = note.map(|note| format!("<span class=\"note\">{}</span>", escape(note))).unwrap_or_default();
        let changes: String = branch
            .changes
            .iter()
            .map(|Change { key, from, to }| {
                let from = from.as_deref().unwrap_or("default");
                let (key, from, to) = (escape(key), escape(from), escape(to));
                format!("<code class=\"changes\">{key}: {from} &rarr; <span class=\"chg\">{to}</span></code>")
            })
            .collect();
        let never: Vec<String> = branch.unfired.iter().map(usize::to_string).collect();
        let never = match never.as_slice() {
            [] => String::new(),
            never => format!("<span class=\"note\">step {} never came</span>", never.join(", ")),
        };
        let name = branch.variant.as_ref().map(|name| format!(" --variant {}", shell_word(name))).unwrap_or_default();
        let set: String = branch.set.iter().map(|set| format!(" --set {}", shell_word(set))).collect();
        let command = format!("cargo sim run {} --seed {}{name}{set}", shell_word(&manifest.path), manifest.seed);
        let cells: String = claims
            .iter()
            .map(|claim| match branch.claims.get(claim) {
                Some(status) => {
                    format!("<td class=\"v {}\">{}</td>", class_of(*status), status.to_string().to_lowercase())
                }
                None => "<td></td>".into(),
            })
            .collect();
        let refused = match branch.failed {
            0 => String::new(),
            failed => format!("<span class=\"note\">{failed} failed</span>"),
        };
        let (this, class) = match number {
            0 => (" <span class=\"here\">this run</span>", " class=\"current\""),
            _ => ("", ""),
        };
        let title = escape(&branch.name());
        let lost = if branch.lost == 0 { "v held" } else { "v lost" };
        format!(
            "<tr{class}><td><button data-branch=\"{number}\" aria-label=\"{number}: show {title}\" aria-pressed=\"{}\">{number}</button></td>\
             <td><b>{title}</b>{this}</td><td>{note}{changes}{never}<code class=\"command\">{}</code></td>\
             <td class=\"num\">{}{refused}</td><td class=\"{lost}\">{}</td>{cells}</tr>",
            number == 0,
            escape(&command),
            branch.acked,
            branch.lost,
        )
    }

    fn lesson(&self) -> String {
        let teaches =
            self.manifest.teaches.as_ref().map(|teaches| format!("<p class=\"teaches\">{}</p>", escape(teaches)));
        let note = self.declared.note.as_ref().map(|note| format!("<p>{}</p>", escape(note)));
        let steps = self.run.entries.iter().filter_map(|entry| match &entry.event {
            Event::StepFired { step, action, note } => {
                let written = self.written(*step, action);
                let note = note.as_ref().map(|note| format!("<span class=\"note\">{}</span>", escape(note)));
                let action =
                    if action == "nothing" { "look".to_owned() } else { format!("<code>{}</code>", escape(action)) };
                let told = format!("<b>{step}</b> {action} at {}", entry.time);
                Some(format!(
                    "<li data-event=\"{}\"><a href=\"#e={0}\">{told}</a>{written}{}</li>",
                    entry.id.0,
                    note.unwrap_or_default()
                ))
            }
            _ => None,
        });
        let catalogue = match self.declared.catalogue.as_slice() {
            [] => String::new(),
            ids => format!("<p class=\"soft\">Catalogue: {}</p>", escape(&ids.join(", "))),
        };
        format!(
            "{}{}<ol class=\"steps\">{}</ol>{catalogue}",
            teaches.unwrap_or_default(),
            note.unwrap_or_default(),
            steps.collect::<String>(),
        )
    }

    /// How the file writes step `step`, where its symbols became the names of `action`.
    fn written(&self, step: usize, action: &str) -> String {
        // Variants and seeds may write other steps than the file has at that place.
        let own = self.manifest.changes.is_empty() && self.manifest.drawn.is_none();
        let written = self.declared.step.get(step - 1).filter(|written| own && written.action != action);
        written.map(|step| format!(" <code class=\"soft\">{}</code>", escape(&step.action))).unwrap_or_default()
    }

    /// The questions, each with its answers; the right one is told once an answer was given.
    fn questions(&self) -> String {
        let questions = &self.manifest.lesson;
        if questions.is_empty() {
            return String::new();
        }
        let asked: String = questions.iter().enumerate().map(|(number, asked)| question(number + 1, asked)).collect();
        format!(
            "<section id=\"questions\" aria-labelledby=\"questions-title\"><h2 id=\"questions-title\" tabindex=\"-1\">Predict, then look \
             <span class=\"to-blind\"><button id=\"blind\" aria-pressed=\"false\">hide what came of it <kbd>l</kbd></button> until every question is answered</span></h2>\
             <details id=\"asked\"><summary>{} about what comes of this run</summary><div class=\"asked\">{asked}</div></details></section>",
            match questions.len() {
                1 => "1 question".to_owned(),
                more => format!("{more} questions"),
            },
        )
    }

    fn settings(&self) -> String {
        let manifest = self.manifest;
        let mut settings = BTreeMap::new();
        flatten("", &manifest.config, &mut settings);
        for (topic, values) in &manifest.plan.topics {
            settings.extend(values.iter().map(|(name, value)| (format!("topics.{topic}.{name}"), value.to_string())));
        }
        for (name, producer) in &manifest.plan.producers {
            let in_flight = format!("clients.{name}.max.in.flight.requests.per.connection");
            settings.insert(in_flight, producer.max_in_flight.to_string());
            settings.insert(format!("clients.{name}.enable.idempotence"), producer.idempotent.to_string());
        }
        let mut rows: Vec<(String, String, bool)> =
            settings.into_iter().map(|(key, value)| (key, value, false)).collect();
        rows.extend(manifest.changes.iter().map(|change| {
            let was = change.from.as_deref().unwrap_or("default");
            (change.key.clone(), format!("{} (was {was})", change.to), true)
        }));
        let row = |(key, value, changed): &(String, String, bool)| {
            let class = if *changed { " class=\"current\"" } else { "" };
            format!("<tr{class}><td><code>{}</code></td><td><code>{}</code></td></tr>", escape(key), escape(value))
        };
        let rows: String = rows.iter().map(row).collect();
        let marks: Vec<&str> = manifest.ending.marks.iter().map(|mark| &**mark).collect();
        format!(
            "<table class=\"settings\"><thead><tr><th scope=\"col\">setting</th><th scope=\"col\">value</th></tr></thead><tbody>{rows}</tbody></table>\
             <p class=\"soft tells\">Marks reached: {}</p><details class=\"tells\"><summary>The scenario file</summary><pre tabindex=\"0\">{}</pre></details>",
            escape(&marks.join(", ")),
            escape(&manifest.scenario_text),
        )
    }

    fn files(&self) -> String {
        let files = [
            (STORY_FILE, "verdict, claims and lives as text"),
            (MANIFEST_FILE, "what was run, and what came of it"),
            (JOURNAL_FILE, "every event, one a line"),
            (PERFETTO_FILE, "timeline for the Perfetto viewer"),
        ];
        files.iter().map(|(name, what)| format!("<li><a href=\"{name}\">{name}</a> {what}</li>")).collect()
    }
}

/// A question as a form; without choices its answer is written.
fn question(number: usize, question: &Question) -> String {
    let Question { before, event, ask, choices, answer, why, .. } = question;
    let choices: String = choices
        .iter()
        .map(|choice| {
            let text = escape(&choice.text);
            let believed =
                choice.misconception.as_ref().map(|believed| format!(" data-believed=\"{}\"", escape(believed)));
            format!(
                "<label><input type=\"radio\" name=\"question-{number}\" value=\"{text}\"{}> {text}</label>",
                believed.unwrap_or_default()
            )
        })
        .collect();
    let choices = match choices.is_empty() {
        true => format!("<label>answer <input type=\"text\" name=\"question-{number}\" autocomplete=\"off\"></label>"),
        false => choices,
    };
    let event = event.map(|event| format!(" data-event-before=\"{}\"", event.0)).unwrap_or_default();
    let answer = escape(answer);
    format!(
        "<fieldset class=\"ask\" data-answer=\"{answer}\"{event}><legend>{number}. {} <span class=\"soft\">before step {before}</span></legend><div class=\"answers\">{choices}</div>\
         <p class=\"told\" role=\"status\" data-why=\"{}\"></p></fieldset>",
        escape(ask),
        escape(why),
    )
}

/// The begin of the SHA-256 of `text`, by which two versions of a scenario are told apart.
fn digits(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The class that colours a status and gives it its sign.
fn class_of(status: Status) -> &'static str {
    match status {
        Status::Held => "held",
        Status::Violated | Status::ViolatedAsExpected => "lost",
        Status::NotExercised => "none",
        Status::Unknown => "unknown",
    }
}

/// A link that moves the page to an event.
fn link(event: EventId, text: &str) -> String {
    format!("<a href=\"#e={}\">{}</a>", event.0, escape(text))
}

/// The leaves of `value` by their paths.
fn flatten(path: &str, value: &serde_json::Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, leaves);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::Array(list) if list.is_empty() => {}
        serde_json::Value::String(text) => drop(leaves.insert(path.to_owned(), text.clone())),
        other => drop(leaves.insert(path.to_owned(), other.to_string())),
    }
}
