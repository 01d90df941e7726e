//! What client, scheduler and executors have in common: configuration, functions, object stores.

use std::sync::Arc;

use ballista_core::extension::SessionConfigExt as _;
use ballista_core::utils::default_session_builder;
use datafusion::error::Result;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use crate::object_stores::ObjectStores;

/// Configuration that all sides start from.
pub(crate) fn config() -> SessionConfig {
    SessionConfig::new_with_ballista().set_str("datafusion.sql_parser.dialect", "PostgreSQL")
}

/// Finds the object stores of clouds by URL, with credentials from the environment.
pub(crate) fn runtime() -> Result<Arc<RuntimeEnv>> {
    let stores = Arc::new(ObjectStores::default());
    Ok(Arc::new(
        RuntimeEnvBuilder::new().with_object_store_registry(stores).build()?,
    ))
}

/// A session in which plans with our functions can be read.
pub(crate) fn state(config: SessionConfig) -> Result<SessionState> {
    let mut state = SessionStateBuilder::new_from_existing(default_session_builder(config)?)
        .with_runtime_env(runtime()?)
        .build();
    sql::functions::register_in(&mut state)?;
    Ok(state)
}
