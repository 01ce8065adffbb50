//! One push at a time.

use crate::PeerFault;

/// Whether a polling client is sending a body. No client sends two at a time.
#[derive(Debug, Default)]
pub struct Pushing {
    is_running: bool,
}

impl Pushing {
    /// A push begins; its body is still to come.
    ///
    /// # Errors
    /// [`PeerFault::Overlap`] if another one is running: the session is to be closed.
    pub fn begin(&mut self) -> Result<(), PeerFault> {
        if self.is_running {
            return Err(PeerFault::Overlap("push"));
        }
        self.is_running = true;
        Ok(())
    }

    /// Whether the body of a push is still coming.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// The running push has ended, well or not.
    pub fn end(&mut self) {
        self.is_running = false;
    }
}
