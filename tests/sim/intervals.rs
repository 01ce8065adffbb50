//! When something was so, as its client could tell.

use crate::schedule::Micros;

/// Times from and until, oldest first; the last may be open.
#[derive(Debug, Default)]
pub(crate) struct Intervals(Vec<(Micros, Option<Micros>)>);

impl Intervals {
    /// From `at` on, unless it is so already.
    pub(crate) fn begin(&mut self, at: Micros) {
        if self.0.last().is_none_or(|last| last.1.is_some()) {
            self.0.push((at, None));
        }
    }

    pub(crate) fn end(&mut self, at: Micros) {
        if let Some((_, until @ None)) = self.0.last_mut() {
            *until = Some(at);
        }
    }

    /// Whether it was so all the time.
    pub(crate) fn covers(&self, from: Micros, until: Micros) -> bool {
        self.0.iter().any(|(begin, end)| *begin <= from && end.is_none_or(|end| end >= until))
    }

    /// Whether it was so at any time.
    pub(crate) fn touches(&self, from: Micros, until: Micros) -> bool {
        self.0.iter().any(|(begin, end)| *begin <= until && end.is_none_or(|end| end >= from))
    }
}
