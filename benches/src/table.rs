//! All figures of a run: by workload, figure and server, one value per repetition.
//!
//! A ratio of two servers is the median of the ratios of each repetition, in which they ran one after the other, and not
//! the ratio of their medians: what slows the machine down for a while slows down both.

use std::collections::BTreeMap;

use crate::server::Kind;

/// Figures in the order in which they were first measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    repetition: u32,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) figure: &'static str,
    /// Each with the number of its repetition.
    values: BTreeMap<Kind, Vec<(u32, f64)>>,
}

impl Table {
    /// What is added from now on was measured after all that is there.
    pub(crate) fn begin_repetition(&mut self) {
        self.repetition += 1;
    }

    /// Adds what one repetition gave.
    pub(crate) fn add(&mut self, workload: &str, figure: &'static str, kind: Kind, value: f64) {
        let known = self.rows.iter().position(|row| row.workload == workload && row.figure == figure);
        let place = known.unwrap_or_else(|| {
            self.rows.push(Row { workload: workload.to_owned(), figure, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[place].values.entry(kind).or_default().push((self.repetition, value));
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The median of the repetitions.
    pub(crate) fn median(&self, workload: &str, figure: &str, kind: Kind) -> Option<f64> {
        self.row(workload, figure)?.median(kind)
    }

    /// How many times as much one server has as another, by repetition, the lowest first; empty if they never ran in the
    /// same one.
    pub(crate) fn ratios(&self, workload: &str, figure: &str, kind: Kind, other: Kind) -> Vec<f64> {
        self.row(workload, figure).map(|row| row.ratios(kind, other)).unwrap_or_default()
    }

    fn row(&self, workload: &str, figure: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.workload == workload && row.figure == figure)
    }

    /// The workloads' names, each once.
    pub(crate) fn workloads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.workload.as_str()) {
                names.push(&row.workload);
            }
        }
        names
    }
}

impl Row {
    pub(crate) fn median(&self, kind: Kind) -> Option<f64> {
        let mut values: Vec<f64> = self.values.get(&kind)?.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        middle(&values)
    }

    /// As [`Table::ratios`].
    pub(crate) fn ratios(&self, kind: Kind, other: Kind) -> Vec<f64> {
        let of = |kind| self.values.get(&kind).into_iter().flatten();
        let mut ratios: Vec<f64> = of(kind)
            .filter_map(|(repetition, value)| {
                let (_, other) = of(other).find(|(same, _)| same == repetition)?;
                (*other > 0.0).then_some(value / other)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    /// Half the way from the lowest to the highest value, as a share of the median; `None` with one repetition.
    pub(crate) fn spread(&self, kind: Kind) -> Option<f64> {
        let values = self.values.get(&kind).filter(|values| values.len() > 1)?;
        let (low, high) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
        self.median(kind).filter(|median| *median > 0.0).map(|median| (high - low) / 2.0 / median)
    }
}

/// The median of what is in order.
pub(crate) fn middle(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_spread_are_those_of_the_repetitions() {
        let mut table = Table::default();
        for value in [3.0, 1.0, 2.0] {
            table.add("w", "f", Kind::Gateway, value);
        }
        table.add("w", "f", Kind::Node, 5.0);
        assert_eq!(table.median("w", "f", Kind::Gateway), Some(2.0));
        assert_eq!(table.rows()[0].spread(Kind::Gateway), Some(0.5));
        assert_eq!(table.rows()[0].spread(Kind::Node), None, "one value has none");
        assert_eq!(table.median("w", "f", Kind::Bare), None);
        table.add("w", "f", Kind::Node, 7.0);
        assert_eq!(table.median("w", "f", Kind::Node), Some(6.0));
    }

    #[test]
    fn a_ratio_is_that_of_one_repetition() {
        let mut table = Table::default();
        for (own, limit) in [(Some(2.0), 1.0), (None, 7.0), (Some(30.0), 10.0), (Some(5.0), 4.0)] {
            table.begin_repetition();
            own.into_iter().for_each(|own| table.add("w", "f", Kind::Gateway, own));
            table.add("w", "f", Kind::Bare, limit);
        }
        assert_eq!(table.ratios("w", "f", Kind::Gateway, Kind::Bare), [1.25, 2.0, 3.0]);
        assert!(table.ratios("w", "f", Kind::Gateway, Kind::Node).is_empty());
        assert_eq!(middle(&[1.25, 2.0, 3.0]), Some(2.0));
    }
}
