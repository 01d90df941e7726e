//! What the server knows of a client for as long as its connection lives.

use std::sync::Arc;

use parking_lot::Mutex;
use tonic::Request;

use crate::coverage::Coverage;

/// What is remembered of the client at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Mutex<Option<Coverage>>>);

impl Session {
    /// The session of a request; an empty one where there is no connection.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// How complete the previous answer was.
    pub(super) fn previous(&self) -> Option<Coverage> {
        self.0.lock().clone()
    }

    /// Remembers how complete an answer is, if the next question can be about that.
    pub(super) fn answered(&self, sql: &str, coverage: &Coverage) {
        if Coverage::is_of(sql) {
            *self.0.lock() = Some(coverage.clone());
        }
    }
}
