//! The publishing side: many events in, few writes out.
//!
//! An event goes at once, written by its publisher, as long as few follow each other closely. What is published while
//! another write is under way, or after many others, waits in a buffer and goes together. A publisher that is faster than the node waits for room.

use std::sync::Arc;

use super::draft::Draft;
use super::link::Link;
use super::route::Route;
use super::waiting::Pushed;
use crate::control::Error;

/// Publishes on one node; opens the link when there is something to say, and again after it broke.
pub(super) struct Publisher {
    link: Arc<Link>,
}

impl Publisher {
    /// Opens nothing yet.
    pub fn new(route: Route) -> Publisher {
        Publisher { link: Arc::new(Link::new(route)) }
    }

    /// Publishes; returns when the event is on its way, or waits with others in a buffer that is not full.
    ///
    /// # Errors
    /// What is wrong with the event; what went wrong with an earlier one, in place of publishing this one; what
    /// [`Route::upgrade`] says where the link has to be opened.
    pub async fn send(&self, draft: &Draft<'_>) -> Result<(), Error> {
        let length = draft.checked_length()?;
        loop {
            match self.link.state.lock().push(length, |out| draft.encode(out))? {
                Pushed::Closed => {}
                Pushed::Done => return Ok(()),
                Pushed::Wake => {
                    self.link.wake.notify_one();
                    return Ok(());
                }
                Pushed::Full => break,
            }
            self.link.open().await?;
        }
        self.link.wake.notify_one();
        self.link.room().await;
        Ok(())
    }

    /// Waits until the node has published everything.
    ///
    /// # Errors
    /// What went wrong with an event since the last error; `daemon_not_running` or `unreachable` where the link broke.
    pub async fn flush(&self) -> Result<(), Error> {
        let Some((generation, number)) = self.link.state.lock().ask_for_flush()? else { return Ok(()) };
        self.link.wake.notify_one();
        loop {
            let moved = self.link.moved.notified();
            if self.link.state.lock().has_flushed(generation, number, &self.link.route)? {
                return Ok(());
            }
            moved.await;
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.link.state.lock().close();
        self.link.wake.notify_one();
    }
}
