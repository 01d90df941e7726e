//! Object stores by URL: opened when a plan first names them, since an executor learns only then what it has to read.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use history::store::Store;
use object_store::ObjectStore;
use url::Url;

#[derive(Debug, Default)]
pub(crate) struct ObjectStores {
    known: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.known.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.known.get_store(url) {
            return Ok(store);
        }
        // The bucket and nothing below it: paths in plans are whole.
        let bucket = &url[..url::Position::BeforePath];
        let store = Store::open(bucket).map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.known.register_store(url, store.object_store());
        Ok(store.object_store())
    }
}
