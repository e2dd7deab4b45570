//! The journal as the page carries it: one array for each field, text interned, times as differences.
//!
//! Generic over the vocabulary: a kind of event has the fields that its JSON has, so a new one needs nothing here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::trace::journal::Entry;

/// The journal in columns. Event `n` of the run is number `n - 1` of each array of `events`; the columns of a kind have a
/// row for each of its events, in order. A field is `[name, type, values]` with type `text` (numbers of `names`, -1 for null), `batches` (lists of
/// numbers of `batches`) or `plain`.
pub(super) fn columns(entries: &[Entry]) -> Value {
    let mut names = Names::default();
    let mut batches = Names::default();
    let mut kinds: Vec<Kind> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let [mut kind_of, mut time_of, mut node_of, mut cause_of] = [(); 4].map(|()| Vec::with_capacity(entries.len()));
    let mut before = 0;
    for entry in entries {
        let fields = match serde_json::to_value(&entry.event) {
            Ok(Value::Object(fields)) => fields,
            other => panic!("an event is an object with string keys, and event {} is {other:?}", entry.id.0),
        };
        let name = fields["kind"].as_str().expect("an event names its kind");
        let kind = *known.entry(name.to_owned()).or_insert_with(|| {
            kinds.push(Kind::new(&fields));
            kinds.len() - 1
        });
        kinds[kind].push(fields);
        kind_of.push(kind as u64);
        time_of.push(entry.time.0 - before);
        node_of.push(names.number(&entry.node));
        cause_of.push(entry.cause.map_or(0, |cause| entry.id.0 - cause.0));
        before = entry.time.0;
    }
    let kinds: Vec<Value> = kinds.into_iter().map(|kind| kind.into_json(&mut names, &mut batches)).collect();
    let batches: Vec<Value> = batches.list.iter().map(|text| batch(text)).collect();
    json!({
        "names": names.list,
        "batches": batches,
        "kinds": kinds,
        "events": { "kind": kind_of, "time": time_of, "node": node_of, "cause": cause_of },
    })
}

/// A batch as `[base, end, epoch, crc, producer id, producer epoch, sequence]`.
fn batch(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(_, value)| value).collect(),
        other => panic!("a batch is an object, and {text} is {other:?}"),
    }
}

/// Each text once, numbered in the order in which they came.
#[derive(Default)]
struct Names {
    numbers: BTreeMap<String, u64>,
    list: Vec<String>,
}

impl Names {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.list.len() as u64;
        self.numbers.insert(text.to_owned(), number);
        self.list.push(text.to_owned());
        number
    }
}

/// One kind of event with its columns.
struct Kind {
    name: Value,
    fields: Vec<(String, Vec<Value>)>,
}

impl Kind {
    fn new(fields: &Map<String, Value>) -> Self {
        let columns = fields.keys().filter(|name| *name != "kind").map(|name| (name.clone(), Vec::new()));
        Self { name: fields["kind"].clone(), fields: columns.collect() }
    }

    fn push(&mut self, mut fields: Map<String, Value>) {
        for (name, column) in &mut self.fields {
            column.push(fields.get_mut(name).map(Value::take).unwrap_or_default());
        }
    }

    fn into_json(self, names: &mut Names, batches: &mut Names) -> Value {
        let columns = self.fields.into_iter().map(|(name, values)| {
            if name == "batches" {
                let lists = values.iter().map(|list| {
                    let list = list.as_array().into_iter().flatten();
                    list.map(|batch| Value::from(batches.number(&batch.to_string()))).collect::<Value>()
                });
                json!([name, "batches", lists.collect::<Vec<_>>()])
            } else if values.iter().any(Value::is_string) {
                let texts = values.iter().map(|text| text.as_str().map_or(json!(-1), |text| json!(names.number(text))));
                json!([name, "text", texts.collect::<Vec<_>>()])
            } else {
                json!([name, "plain", values])
            }
        });
        json!({ "name": self.name, "fields": columns.collect::<Vec<_>>() })
    }
}
