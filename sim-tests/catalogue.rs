//! `docs/catalogue.md` and the scenarios say the same: each id of a scenario has its row, which links to that scenario,
//! and each row without a link says why.

use std::{collections::BTreeMap, fs};

use super::command::{root, scenarios};

/// The ids that each scenario file carries, by id.
fn carried() -> BTreeMap<String, Vec<String>> {
    let mut carried: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in scenarios("scenarios") {
        let text = fs::read_to_string(root().join(&path)).expect("the file is there");
        let scenario = highwater::scenario::parse(&text).unwrap_or_else(|problem| panic!("{path:?}: {problem:?}"));
        let name = path.file_stem().unwrap().to_str().unwrap();
        let link = format!("[{name}](../scenarios/{name}.toml)");
        for id in scenario.catalogue {
            carried.entry(id).or_default().push(link.clone());
        }
    }
    carried
}

#[test]
fn the_catalogue_says_for_each_failure_which_scenario_shows_it_or_why_none_does() {
    let page = fs::read_to_string(root().join("docs/catalogue.md")).expect("there is a catalogue");
    let carried = carried();
    let mut listed = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains('-')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [id, what, shown] = cells[..] else { panic!("a row has three cells: {row}") };
        if !id.starts_with(|letter: char| letter.is_ascii_uppercase()) {
            continue;
        }
        assert!(!what.is_empty(), "{row}");
        match carried.get(id) {
            Some(links) => assert_eq!(shown, links.join(", "), "{id}"),
            None => assert!(shown.starts_with("not ") && shown.len() > 20, "{id} is shown by no scenario: why? {row}"),
        }
        assert!(listed.insert(id.to_owned(), row).is_none(), "{id} is listed twice");
    }
    let missing: Vec<_> = carried.keys().filter(|id| !listed.contains_key(*id)).collect();
    assert!(missing.is_empty(), "docs/catalogue.md has no row for {missing:?}");
}
