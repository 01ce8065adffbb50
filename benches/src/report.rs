//! A run in Markdown: the tables, and what they were made on.

mod circumstances;

use std::fmt::Write as _;

use crate::{
    number::plain,
    plot,
    profile::Profile,
    server::Kind,
    suite::{Hot, Plan, Results, cases, figures},
    table::{Row, Table, middle},
    targets,
};

/// The functions that are shown of a workload.
const HOT_MAX: usize = 10;
/// The kernel's symbols that are shown of a workload, and those of the gateway.
const SYMBOLS_MAX: (usize, usize) = (12, 6);

/// What no run measures: the attempts that were given up, by hand.
const TRIED: &str = include_str!("../TRIED.md");

/// The whole of RESULTS.md. `command` is what made it, `others` the share of the machine's processors that other
/// processes took meanwhile.
pub(crate) fn document(plan: &Plan, results: &Results, command: &str, others: f64) -> String {
    let Results { table, hot, profiles, failures, faults } = results;
    let mut out = format!(
        "# Results\n\nMade by `{command}`; every delivery is checked for order, room and length.\n\n{}",
        circumstances::circumstances(plan)
    );
    writeln!(
        out,
        "- Other processes of the machine took {:.0} % of its processors meanwhile: rates and latencies suffer from \
         that, CPU times and their ratios too where it is much, instructions not at all.",
        others * 100.0
    )
    .expect("a string takes all");
    out.push_str(&circumstances::method(plan));
    write!(
        out,
        "\n## Targets\n\nThe share is the distance from the bound.\n\n{}\n## Figures\n\nMedians; ± is half the \
         distance between the lowest and the highest repetition. A unit is a delivery, an acknowledgement or a cycle. \
         The last column is the median of the repetitions' ratios of Roomcast to bare `writev`, or to bare `write` where that \
         did not run.\n\n{}\nThe gateway lost, disordered or made up: {}.\n",
        targets::verdicts(table, &plan.cases),
        figures_table(table),
        faults.total(),
    )
    .expect("a string takes all");
    for Drawing { name, title, .. } in drawings(table) {
        write!(out, "\n![{title}]({name})\n").expect("a string takes all");
    }
    if !failures.is_empty() {
        out.push_str("\n## Not measured\n\n");
        for failure in failures {
            writeln!(out, "- {}", failure.replace('\n', " ")).expect("a string takes all");
        }
    }
    if !hot.is_empty() {
        out.push_str("\n## Where the gateway's instructions go\n");
        out.push_str(&hot_functions(hot));
    }
    if !profiles.is_empty() {
        out.push_str(
            "\n## Where the gateway's time goes\n\nSamples of `perf record -e cpu-clock`, in shares of all that the process \
             took. The receiving half of the connection runs inside the sending call: on loopback it is paid here.\n",
        );
        profiles.iter().for_each(|(workload, profile)| out.push_str(&symbols(workload, profile)));
    }
    out.push('\n');
    out.push_str(TRIED);
    out
}

/// A drawing beside the document.
pub(crate) struct Drawing {
    /// Of its file.
    pub(crate) name: &'static str,
    title: &'static str,
    pub(crate) svg: String,
}

/// The drawings of figures that were measured.
pub(crate) fn drawings(table: &Table) -> Vec<Drawing> {
    use cases::names;
    let curve = |cases: [(&str, u32); 4], title, axis| {
        let sizes = cases.map(|(name, size)| (name.to_owned(), f64::from(size)));
        plot::curve(table, &sizes, figures::CPU, title, axis)
    };
    let workloads = [
        names::ROOM_1000,
        names::ROOM_10000,
        names::ROOM_1000_BY_8,
        names::ROOMS,
        names::ECHO,
        names::CHURN,
        names::CLUSTER_ROOM,
        names::CLUSTER_ROOMS,
    ];
    let (units, members, connections) = (
        "CPU µs per delivery, answer or cycle",
        "CPU µs per delivery, one message at a time",
        "CPU µs per delivery to a room of 1,000",
    );
    [
        ("results-cpu.svg", units, plot::bars(table, &workloads, figures::CPU, units)),
        ("results-members.svg", members, curve(cases::MEMBERS, members, "members of the room")),
        ("results-connections.svg", connections, curve(cases::CONNECTIONS, connections, "connections")),
    ]
    .into_iter()
    .filter_map(|(name, title, svg)| Some(Drawing { name, title, svg: svg? }))
    .collect()
}

/// All figures: a row for each, a column for each server.
pub(crate) fn figures_table(table: &Table) -> String {
    let mut out = String::from("| workload | figure |");
    Kind::ALL.iter().for_each(|kind| write!(out, " {} |", kind.title()).expect("a string takes all"));
    out.push_str(" to the limit |\n|---|---|");
    Kind::ALL.iter().for_each(|_| out.push_str("---:|"));
    out.push_str("---:|");
    out.push('\n');
    for workload in table.workloads() {
        for row in table.rows().iter().filter(|row| row.workload == workload) {
            write!(out, "| {workload} | {} |", row.figure).expect("a string takes all");
            for kind in Kind::ALL {
                match (row.median(kind), row.spread(kind)) {
                    (None, _) => out.push_str(" – |"),
                    (Some(value), Some(spread)) if spread >= 0.005 => {
                        write!(out, " {} ±{:.0} % |", plain(value), spread * 100.0)
                            .expect("a string takes all");
                    }
                    (Some(value), _) => write!(out, " {} |", plain(value)).expect("a string takes all"),
                }
            }
            let ratio = to_the_limit(row).map_or_else(|| "–".into(), |ratio| format!("{} ×", plain(ratio)));
            writeln!(out, " {ratio} |").expect("a string takes all");
        }
    }
    out
}

/// How many times the limit's figure the gateway's is.
fn to_the_limit(row: &Row) -> Option<f64> {
    let ratio = |limit| middle(&row.ratios(Kind::Gateway, limit));
    ratio(Kind::Batched).or_else(|| ratio(Kind::Bare))
}

fn hot_functions(hot: &[Hot]) -> String {
    let mut out = String::new();
    for Hot { workload, unit, functions } in hot {
        writeln!(out, "\n{workload}, instructions per {unit}:\n").expect("a string takes all");
        for (function, cost) in functions.iter().take(HOT_MAX) {
            writeln!(out, "- {cost:.1} `{function}`").expect("a string takes all");
        }
    }
    out
}

fn symbols(workload: &str, profile: &Profile) -> String {
    let Profile { samples, kernel_share, kernel, user } = profile;
    let list = |symbols: &[(String, f64)], most| {
        let shown = symbols.iter().take(most);
        let shown: Vec<_> =
            shown.map(|(symbol, share)| format!("{:.1} % `{symbol}`", share * 100.0)).collect();
        shown.join(", ")
    };
    format!(
        "\n{workload}, {samples} samples, {:.1} % in the kernel:\n\n- kernel: {}\n- user space: {}\n",
        kernel_share * 100.0,
        list(kernel, SYMBOLS_MAX.0),
        list(user, SYMBOLS_MAX.1)
    )
}
