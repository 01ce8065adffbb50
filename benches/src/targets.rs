//! What the gateway must reach, and by how much it does or does not.

use std::fmt::Write as _;

use crate::{
    number::plain,
    server::Kind,
    suite::{self, cases::Case, figures},
    table::{Table, middle},
};

/// How a figure is judged.
#[derive(Clone, Copy, Debug)]
enum Rule {
    AtMost(f64),
    AtLeast(f64),
    /// At most that many times the figure of another server in the same run.
    TimesAtMost(f64, Kind),
    /// At most that much more than the same server's other figure.
    AboveAtMost(f64, &'static str),
    /// More than every other server's; the bare loops are no servers.
    AheadOfServers,
}

struct Target {
    workload: &'static str,
    figure: &'static str,
    rule: Rule,
    /// What the figure stands in for, where the machine cannot measure what is asked.
    instead_of: Option<&'static str>,
}

const fn target(workload: &'static str, figure: &'static str, rule: Rule) -> Target {
    Target { workload, figure, rule, instead_of: None }
}

const fn instead(workload: &'static str, figure: &'static str, rule: Rule, of: &'static str) -> Target {
    Target { workload, figure, rule, instead_of: Some(of) }
}

const ALL_INSTRUCTIONS: &str = "all instructions";

const TARGETS: [Target; 38] = {
    use Rule::{AboveAtMost, AheadOfServers, AtLeast, AtMost, TimesAtMost};
    use figures::*;
    use suite::names::*;
    [
        target(ROOM_1000, INSTRUCTIONS, AtMost(250.0)),
        target(ROOM_10000, INSTRUCTIONS, AtMost(250.0)),
        instead(ROOM_1000, CPU, TimesAtMost(1.04, Kind::Bare), ALL_INSTRUCTIONS),
        instead(ROOM_10000, CPU, TimesAtMost(1.04, Kind::Bare), ALL_INSTRUCTIONS),
        target(ROOM_1000, RATE, AheadOfServers),
        target(ROOM_10000, RATE, AheadOfServers),
        instead(ROOM_1000_BY_8, CPU, TimesAtMost(1.15, Kind::Batched), ALL_INSTRUCTIONS),
        instead(ROOM_10000_BY_8, CPU, TimesAtMost(1.15, Kind::Batched), ALL_INSTRUCTIONS),
        target(ROOM_1000_BY_8, RATE, AheadOfServers),
        target(ROOM_10000_BY_8, RATE, AheadOfServers),
        target(ROOM_1000_PACED, P99, TimesAtMost(1.25, Kind::Bare)),
        target(ROOMS, INSTRUCTIONS, AtMost(1_000.0)),
        target(ROOMS, RATE, AheadOfServers),
        target(ECHO, INSTRUCTIONS, AtMost(5_000.0)),
        target(ECHO, RATE, AheadOfServers),
        target(CHURN, INSTRUCTIONS, AtMost(30_000.0)),
        target(CHURN, RATE, AheadOfServers),
        target(POLLING, RATE, AheadOfServers),
        target(ONE_UNARY, INSTRUCTIONS, AtMost(40_000.0)),
        target(ONE_BATCH, INSTRUCTIONS, AtMost(5_000.0)),
        target(ONE_STREAM, INSTRUCTIONS, AtMost(5_000.0)),
        target(FLOOD, PER_CPU, AtLeast(150_000.0)),
        target(ANSWERS, P99_ANSWER, AtMost(2.0)),
        target(IDLE_10000, KIB, AtMost(1.5)),
        target(IDLE_18000, KIB, AtMost(1.5)),
        target(IDLE_10000, PINGS, AtMost(4.0)),
        target(IDLE_18000, PINGS, AtMost(4.0)),
        target(STALLED, P99_WITH_STALLED, AboveAtMost(1.0, P99)),
        target(CLUSTER_ROOM, INSTRUCTIONS, AtMost(350.0)),
        target(CLUSTER_ROOMS, INSTRUCTIONS, AtMost(2_500.0)),
        instead(CLUSTER_ROOM, CPU, TimesAtMost(0.83, Kind::Socketioxide), ALL_INSTRUCTIONS),
        instead(CLUSTER_ROOM_BY_8, CPU, TimesAtMost(0.6, Kind::Socketioxide), ALL_INSTRUCTIONS),
        instead(CLUSTER_ROOMS, CPU, TimesAtMost(0.7, Kind::Socketioxide), ALL_INSTRUCTIONS),
        target(CLUSTER_PACED, P50_FAR, AboveAtMost(0.5, P50)),
        target(CLUSTER_ROOM, REDIS_BYTES, TimesAtMost(1.1, Kind::Node)),
        target(CLUSTER_ROOM, RATE, AheadOfServers),
        target(CLUSTER_ROOMS, RATE, AheadOfServers),
        target(RESTORED, SECONDS, AtMost(3.0)),
    ]
};

impl Target {
    /// The bound and the figure in words, and how far the one is from the other; `None` if something was not measured.
    fn judge(&self, table: &Table) -> Option<(String, String, Verdict)> {
        let of = |figure, kind| table.median(self.workload, figure, kind);
        let own = of(self.figure, Kind::Gateway)?;
        let (bound, verdict) = match self.rule {
            Rule::AtMost(bound) => (format!("≤ {}", plain(bound)), Verdict::at_most(own, bound)),
            Rule::AtLeast(bound) => {
                let verdict = Verdict { met: own >= bound, by: own / bound - 1.0 };
                (format!("≥ {}", plain(bound)), verdict)
            }
            Rule::TimesAtMost(times, kind) => {
                let other = of(self.figure, kind)?;
                let ratios = table.ratios(self.workload, self.figure, Kind::Gateway, kind);
                let ratio = middle(&ratios)?;
                let bound = format!("≤ {} × {} ({})", plain(times), kind.title(), plain(other));
                let (low, high) = (ratios.first()?, ratios.last()?);
                let range = if ratios.len() > 1 {
                    format!(" ({} to {})", plain(*low), plain(*high))
                } else {
                    String::new()
                };
                let words = format!("{}: {} ×{range}", plain(own), plain(ratio));
                return Some((bound, words, Verdict::at_most(ratio, times)));
            }
            Rule::AboveAtMost(above, figure) => {
                let other = of(figure, Kind::Gateway)?;
                let words = format!("≤ {figure} ({}) + {}", plain(other), plain(above));
                (words, Verdict::at_most(own, other + above))
            }
            Rule::AheadOfServers => {
                let others = Kind::ALL.into_iter().filter(|kind| kind.is_server() && *kind != Kind::Gateway);
                let (best, kind) = others
                    .filter_map(|kind| Some((of(self.figure, kind)?, kind)))
                    .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
                let words = format!("> {} ({})", kind.title(), plain(best));
                (words, Verdict { met: own > best, by: own / best - 1.0 })
            }
        };
        Some((bound, plain(own), verdict))
    }
}

struct Verdict {
    met: bool,
    /// How far the figure is from its bound, as a share of the bound.
    by: f64,
}

impl Verdict {
    fn at_most(own: f64, bound: f64) -> Self {
        Self { met: own <= bound, by: own / bound - 1.0 }
    }
}

/// The targets of these workloads with their verdicts, as Markdown.
pub(crate) fn verdicts(table: &Table, cases: &[Case]) -> String {
    let mut out =
        String::from("| workload | figure | target | Roomcast | verdict |\n|---|---|---|---:|---|\n");
    let is_run = |target: &&Target| cases.iter().any(|case| case.name == target.workload);
    for target in TARGETS.iter().filter(is_run) {
        let figure = match target.instead_of {
            Some(of) => format!("{}, instead of {of}", target.figure),
            None => target.figure.to_owned(),
        };
        let workload = target.workload;
        match target.judge(table) {
            Some((bound, own, Verdict { met, by })) => {
                let word = if met { "met" } else { "**missed**" };
                writeln!(out, "| {workload} | {figure} | {bound} | {own} | {word} ({:+.0} %) |", by * 100.0)
            }
            None => writeln!(out, "| {workload} | {figure} | – | – | not measured |"),
        }
        .expect("a string takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_by_how_much() {
        let mut table = Table::default();
        table.add(suite::names::ROOM_1000, figures::INSTRUCTIONS, Kind::Gateway, 300.0);
        table.add(suite::names::ROOM_1000, figures::RATE, Kind::Gateway, 150.0);
        table.add(suite::names::ROOM_1000, figures::RATE, Kind::Bare, 900.0);
        table.add(suite::names::ROOM_1000, figures::RATE, Kind::Node, 100.0);
        let text = verdicts(&table, &suite::cases::all());
        assert!(text.contains("| ≤ 250 | 300 | **missed** (+20 %) |"), "{text}");
        assert!(text.contains("| > Node (100) | 150 | met (+50 %) |"), "{text}");
        assert!(text.contains("not measured"), "{text}");
    }

    #[test]
    fn a_ratio_is_judged_by_the_median_of_its_repetitions() {
        let mut table = Table::default();
        for (own, limit) in [(1.1, 1.0), (2.06, 2.0), (5.0, 4.0)] {
            table.begin_repetition();
            table.add(suite::names::ROOM_1000, figures::CPU, Kind::Gateway, own);
            table.add(suite::names::ROOM_1000, figures::CPU, Kind::Bare, limit);
        }
        let text = verdicts(&table, &suite::cases::all());
        let line = "| ≤ 1.04 × bare `write` (2) | 2.06: 1.1 × (1.03 to 1.25) | **missed** (+6 %) |";
        assert!(text.contains(line), "{text}");
    }
}
