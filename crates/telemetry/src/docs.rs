//! Holds `docs/metrics.md` and `docs/runbook.md` to the tables of this crate, in both directions.

use std::collections::BTreeSet;

use engineio::{CloseReason, Transport};

use crate::labels::{
    ChannelState, ConnectRefusal, FaultCause, ForwardFailure, ForwardedRequest, Label, PeerRefusal,
    PublishRefusal, RedisConnection, Refusal,
};
use crate::{events, names};

const METRICS: &str = include_str!("../../../docs/metrics.md");
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// The cells of the rows of every table in `page`, without the white space around them.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
}

/// Fails with what only one of the two has.
fn assert_same(documented: BTreeSet<String>, known: BTreeSet<String>) {
    let undocumented: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(
        undocumented.is_empty() && unknown.is_empty(),
        "not in the page: {undocumented:#?}\nonly in the page: {unknown:#?}"
    );
}

#[test]
fn every_metric_is_documented_with_its_kind_unit_and_labels() {
    let known = names::ALL.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("`{}` {kind} {} {}", metric.name, metric.unit.as_str(), labels.join(", "))
    });
    // The table of metrics has five columns and that of label values four.
    let documented = rows(METRICS).filter(|row| row.len() == 5 && row[0].starts_with('`'));
    assert_same(documented.map(|row| row[..4].join(" ")).collect(), known.collect());
}

#[test]
fn every_value_of_a_label_is_documented() {
    fn values<L: Label>(label: &str) -> Vec<String> {
        L::ALL.iter().map(|value| format!("{label} `{}`", value.as_str())).collect()
    }
    let known = [
        values::<Transport>("`transport`"),
        values::<CloseReason>("`reason`"),
        values::<Refusal>("`cause`"),
        values::<ConnectRefusal>("`cause`"),
        values::<FaultCause>("`cause`"),
        values::<PublishRefusal>("`cause`"),
        values::<ForwardedRequest>("`request`"),
        values::<ForwardFailure>("`cause`"),
        values::<PeerRefusal>("`cause`"),
        values::<RedisConnection>("`connection`"),
        values::<ChannelState>("`state`"),
    ];
    let mut label = "";
    let mut documented = BTreeSet::new();
    for row in rows(METRICS).filter(|row| row.len() == 4 && row[2].starts_with('`')) {
        // A cell that is empty is the one above it.
        label = if row[1].is_empty() { label } else { row[1] };
        documented.insert(format!("{label} {}", row[2]));
    }
    assert_same(documented, known.into_iter().flatten().collect());
}

#[test]
fn every_kind_of_log_line_has_its_place_in_the_runbook() {
    let known =
        events::KINDS.iter().map(|(kind, level)| format!("### `{kind}` ({})", level.as_str().to_lowercase()));
    let documented = RUNBOOK.lines().filter(|line| line.starts_with("### ") && line.ends_with(')'));
    assert_same(documented.map(str::to_owned).collect(), known.collect());
}

#[test]
fn every_place_in_the_runbook_says_what_it_means_where_to_look_and_what_to_do() {
    for section in RUNBOOK.split("\n### ").skip(1) {
        for part in ["- **Means:** ", "- **Look at:** ", "- **Do:** "] {
            assert_eq!(section.matches(part).count(), 1, "{part} in {section}");
        }
    }
}

#[test]
fn metrics_that_the_runbook_names_exist() {
    let words = RUNBOOK.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for word in words.filter(|word| word.starts_with("roomcast_") && !word.ends_with('_')) {
        assert!(names::ALL.iter().any(|metric| metric.name == word), "{word}");
    }
}
