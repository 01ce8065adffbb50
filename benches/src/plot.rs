//! Drawings of the figures, as SVG.

use std::fmt::Write as _;

use crate::{number::plain, server::Kind, table::Table};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;

/// One server's line.
struct Line {
    kind: Kind,
    points: Vec<(f64, f64)>,
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "#d1495b",
        Kind::Bare => "#8d99ae",
        Kind::Batched => "#4a4e69",
        Kind::Socketioxide => "#edae49",
        Kind::Node => "#2e933c",
        Kind::Centrifuge => "#30638e",
    }
}

/// A figure over the size of the workload, both on logarithmic axes; `None` if nothing was measured.
///
/// `workloads` are names with the size that each has.
pub(crate) fn curve(
    table: &Table,
    workloads: &[(String, f64)],
    figure: &str,
    title: &str,
    axis: &str,
) -> Option<String> {
    let line = |kind| Line {
        kind,
        points: workloads
            .iter()
            .filter_map(|(name, x)| Some((*x, table.median(name, figure, kind)?)))
            .collect(),
    };
    let lines: Vec<Line> = Kind::ALL.map(line).into_iter().filter(|line| line.points.len() > 1).collect();
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let bounds = |values: Vec<f64>| {
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        let high = values.iter().copied().fold(f64::MIN, f64::max);
        (low > 0.0 && low < high).then_some((low, high))
    };
    let (x_low, x_high) = bounds(points().map(|(x, _)| x).collect())?;
    let (y_low, y_high) = bounds(points().map(|(_, y)| y).collect())?;
    let (y_low, y_high) = (y_low / 1.5, y_high * 1.5);
    let place = |value: f64, low: f64, high: f64| (value / low).ln() / (high / low).ln();
    let x_of = |x: f64| LEFT + place(x, x_low, x_high) * (WIDTH - LEFT - RIGHT);
    let y_of = |y: f64| HEIGHT - BOTTOM - place(y, y_low, y_high) * (HEIGHT - TOP - BOTTOM);
    let mut out = start(title);
    for (_, x) in workloads {
        let at = x_of(*x);
        text(&mut out, at, HEIGHT - BOTTOM + 18.0, "middle", &plain(*x));
        rule(&mut out, (at, TOP), (at, HEIGHT - BOTTOM));
    }
    scale(&mut out, (y_low, y_high), y_of);
    text(&mut out, f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 14.0, "middle", axis);
    for (place, Line { kind, points }) in lines.iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y))).collect();
        let stroke = colour(*kind);
        write!(
            out,
            r#"<polyline fill="none" stroke="{stroke}" stroke-width="2" points="{}"/>"#,
            path.join(" ")
        )
        .expect("a string takes all");
        out.push('\n');
        key(&mut out, place, *kind);
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// A figure of several workloads as groups of bars, on a logarithmic axis; `None` if nothing was measured.
pub(crate) fn bars(table: &Table, workloads: &[&str], figure: &str, title: &str) -> Option<String> {
    let value = |workload: &str, kind| table.median(workload, figure, kind).filter(|value| *value > 0.0);
    let workloads: Vec<&str> =
        workloads.iter().copied().filter(|workload| value(workload, Kind::Gateway).is_some()).collect();
    let all = || {
        workloads.iter().flat_map(|workload| Kind::ALL.into_iter().filter_map(|kind| value(workload, kind)))
    };
    let (low, high) = (all().fold(f64::MAX, f64::min) / 2.0, all().fold(f64::MIN, f64::max) * 1.2);
    if workloads.is_empty() {
        return None;
    }
    let y_of = |y: f64| HEIGHT - BOTTOM - (y / low).ln() / (high / low).ln() * (HEIGHT - TOP - BOTTOM);
    let mut out = start(title);
    let group = (WIDTH - LEFT - RIGHT) / workloads.len() as f64;
    let bar = group * 0.8 / Kind::ALL.len() as f64;
    scale(&mut out, (low, high), y_of);
    for (place, workload) in workloads.iter().enumerate() {
        let left = LEFT + place as f64 * group + group * 0.1;
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            let Some(value) = value(workload, kind) else { continue };
            let (x, top) = (left + place as f64 * bar, y_of(value));
            let height = HEIGHT - BOTTOM - top;
            writeln!(
                out,
                r#"<rect x="{x:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}" fill="{}"/>"#,
                bar * 0.9,
                colour(kind)
            )
            .expect("a string takes all");
        }
        // Several lines, so that neighbours do not touch.
        for (line, words) in workload.split(", ").enumerate() {
            let y = HEIGHT - BOTTOM + 16.0 + line as f64 * 13.0;
            text(&mut out, left + group * 0.4, y, "middle", words);
        }
    }
    Kind::ALL.into_iter().enumerate().for_each(|(place, kind)| key(&mut out, place, kind));
    out.push_str("</svg>\n");
    Some(out)
}

/// Lines across the drawing at 1, 2 and 5 of each power of ten.
fn scale(out: &mut String, (low, high): (f64, f64), y_of: impl Fn(f64) -> f64) {
    let mut tick = 10_f64.powf(low.log10().floor());
    while tick <= high {
        for y in [tick, tick * 2.0, tick * 5.0].into_iter().filter(|y| (low..=high).contains(y)) {
            rule(out, (LEFT, y_of(y)), (WIDTH - RIGHT, y_of(y)));
            text(out, LEFT - 6.0, y_of(y) + 4.0, "end", &plain(y));
        }
        tick *= 10.0;
    }
}

fn start(title: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut out, LEFT, 22.0, "start", title);
    out
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('`', "").replace('&', "&amp;").replace('<', "&lt;");
    writeln!(out, r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#222">{words}</text>"##)
        .expect("a string takes all");
}

fn rule(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    writeln!(out, r##"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="#ddd"/>"##)
        .expect("a string takes all");
}

fn key(out: &mut String, place: usize, kind: Kind) {
    let (x, y) = (WIDTH - RIGHT + 16.0, TOP + 12.0 + place as f64 * 18.0);
    writeln!(out, r#"<rect x="{x:.1}" y="{:.1}" width="12" height="12" fill="{}"/>"#, y - 10.0, colour(kind))
        .expect("a string takes all");
    text(out, x + 18.0, y, "start", kind.title());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_that_was_measured_has_a_line() {
        let mut table = Table::default();
        for (workload, value) in [("10", 1.0), ("100", 2.0)] {
            table.add(workload, "f", Kind::Gateway, value);
            table.add(workload, "f", Kind::Node, value * 9.0);
        }
        let sizes = [("10".to_owned(), 10.0), ("100".to_owned(), 100.0)];
        let svg = curve(&table, &sizes, "f", "title", "members").unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("Roomcast") && svg.contains("Node") && !svg.contains("Centrifuge"));
        assert_eq!(curve(&table, &sizes, "g", "title", "members"), None);
        assert!(bars(&table, &["10", "unknown"], "f", "title").unwrap().contains("<rect"));
    }
}
