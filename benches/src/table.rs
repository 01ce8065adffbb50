//! All figures of a run: by workload, figure and server, one value per repetition.

use std::collections::BTreeMap;

use crate::server::Kind;

/// Figures in the order in which they were first measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) figure: &'static str,
    values: BTreeMap<Kind, Vec<f64>>,
}

impl Table {
    /// Adds what one repetition gave.
    pub(crate) fn add(&mut self, workload: &str, figure: &'static str, kind: Kind, value: f64) {
        let known = self.rows.iter().position(|row| row.workload == workload && row.figure == figure);
        let place = known.unwrap_or_else(|| {
            self.rows.push(Row { workload: workload.to_owned(), figure, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[place].values.entry(kind).or_default().push(value);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The median of the repetitions.
    pub(crate) fn median(&self, workload: &str, figure: &str, kind: Kind) -> Option<f64> {
        self.rows.iter().find(|row| row.workload == workload && row.figure == figure)?.median(kind)
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
        let mut values = self.values.get(&kind)?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }

    /// Half the way from the lowest to the highest value, as a share of the median; `None` with one repetition.
    pub(crate) fn spread(&self, kind: Kind) -> Option<f64> {
        let values = self.values.get(&kind).filter(|values| values.len() > 1)?;
        let (low, high) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
        self.median(kind).filter(|median| *median > 0.0).map(|median| (high - low) / 2.0 / median)
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
}
