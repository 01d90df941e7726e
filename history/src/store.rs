//! A place that holds a history: a folder, or a bucket of an object store.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutPayload};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::HistoryError;
use crate::layout::{FileName, HOUR_NS, HistoryFile, Kind, hour_folder, hour_of, without_obsolete};
use crate::session::Session;

/// The format that this program reads and writes.
pub const FORMAT: u32 = 1;
const MARKER: &str = "parallax-history.json";

/// Beyond that many hours all folders are listed at once instead of one by one.
const HOURS_ONE_BY_ONE: i64 = 48;

/// A history.
#[derive(Clone, Debug)]
pub struct Store {
    store: Arc<dyn ObjectStore>,
    /// Where the history begins in the store.
    prefix: Path,
    /// As the user has given it.
    location: String,
    folder: Option<PathBuf>,
}

/// A file that is in the history's folders and isn't used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it is.
    pub path: String,
    /// Why it isn't used.
    pub why: String,
}

/// What a history holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Files to read, oldest first; each flow is in one of them.
    pub files: Vec<HistoryFile>,
    /// Files that merged ones have replaced.
    pub obsolete: Vec<HistoryFile>,
    /// Files that are not of a history.
    pub skipped: Vec<Skipped>,
    /// How many files were listed that hold nothing of that time; files in folders of other hours are not even listed.
    pub pruned: usize,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
}

impl Store {
    /// The history at a folder or URL. Nothing is read yet; credentials of clouds come from the environment
    /// (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    ///
    /// # Errors
    /// If the text names no place, or settings of a cloud are wrong.
    pub fn open(location: &str) -> Result<Self, HistoryError> {
        let wrong = |why: String| HistoryError::Location {
            location: location.to_owned(),
            why,
        };
        let folder = match location.split_once("://") {
            None => Some(PathBuf::from(location)),
            Some(("file", _)) => {
                let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
                Some(url.to_file_path().map_err(|()| wrong("it names no file".to_owned()))?)
            }
            Some(_) => None,
        };
        if let Some(folder) = folder {
            if location.is_empty() {
                return Err(wrong("it is empty".to_owned()));
            }
            let absolute = std::path::absolute(&folder).map_err(|error| wrong(error.to_string()))?;
            let prefix = Path::from_absolute_path(&absolute).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self {
                store: Arc::new(LocalFileSystem::new()),
                prefix,
                location: location.to_owned(),
                folder: Some(absolute),
            });
        }
        let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| wrong(error.to_string()))?;
        let name = url.as_str();
        let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match scheme {
            ObjectStoreScheme::AmazonS3 => object_store::aws::AmazonS3Builder::from_env()
                .with_url(name)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            ObjectStoreScheme::GoogleCloudStorage => object_store::gcp::GoogleCloudStorageBuilder::from_env()
                .with_url(name)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            ObjectStoreScheme::MicrosoftAzure => object_store::azure::MicrosoftAzureBuilder::from_env()
                .with_url(name)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            _ => return Err(wrong(format!("there is no store for `{}:`", url.scheme()))),
        };
        Ok(Self {
            store: store.map_err(|error| wrong(error.to_string()))?,
            prefix,
            location: location.to_owned(),
            folder: None,
        })
    }

    /// The store that the files are in.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// As the user has given it.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The folder, if it is one of this machine.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// Where a file of that path below the history is in the store.
    #[must_use]
    pub fn path(&self, below: &str) -> Path {
        below.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, what: impl Into<String>, error: object_store::Error) -> HistoryError {
        HistoryError::Store {
            what: what.into(),
            location: self.location.clone(),
            error,
        }
    }

    /// Makes it ready for writing: marks a new place as a history, and checks an old one.
    ///
    /// # Errors
    /// If it can't be written to, or is of another format.
    pub async fn prepare(&self) -> Result<(), HistoryError> {
        match self.check().await {
            Err(HistoryError::Missing { .. }) => {
                let marker = serde_json::to_vec(&Marker { format: FORMAT }).expect("invariant: a number is JSON");
                self.put(MARKER, marker.into()).await
            }
            other => other,
        }
    }

    /// Checks that there is a history that this program can read.
    ///
    /// # Errors
    /// If there is none, if it is of another format, or can't be read.
    pub async fn check(&self) -> Result<(), HistoryError> {
        let Some(found) = self.find(MARKER).await? else {
            return Err(HistoryError::Missing {
                location: self.location.clone(),
            });
        };
        match serde_json::from_slice::<Marker>(&found) {
            Ok(Marker { format: FORMAT }) => Ok(()),
            other => Err(HistoryError::Format {
                location: self.location.clone(),
                found: other.map_or_else(|_| "that is not known".to_owned(), |marker| marker.format.to_string()),
                known: FORMAT,
            }),
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn put(&self, below: &str, content: Bytes) -> Result<(), HistoryError> {
        let path = self.path(below);
        match self.store.put(&path, PutPayload::from_bytes(content)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(format!("write {below}"), error)),
        }
    }

    /// A whole file.
    ///
    /// # Errors
    /// If the store refuses, or there is none.
    pub async fn read(&self, path: &Path) -> Result<Bytes, HistoryError> {
        let content = match self.store.get(path).await {
            Ok(content) => content.bytes().await,
            Err(error) => Err(error),
        };
        content.map_err(|error| self.failed(format!("read {path}"), error))
    }

    /// A whole file of that path below the history; `None` if there is none.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn find(&self, below: &str) -> Result<Option<Bytes>, HistoryError> {
        self.at(&self.path(below)).await
    }

    async fn at(&self, path: &Path) -> Result<Option<Bytes>, HistoryError> {
        let content = match self.store.get(path).await {
            Ok(content) => content.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        content
            .map(Some)
            .map_err(|error| self.failed(format!("read {path}"), error))
    }

    /// Deletes a file; that it is gone already is no error.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn delete(&self, path: &Path) -> Result<(), HistoryError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(format!("delete {path}"), error)),
        }
    }

    /// The files that hold something of a time (both ends are in it), nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the store can't be listed.
    pub async fn list(&self, kind: Kind, time_range: Option<(i64, i64)>) -> Result<Listing, HistoryError> {
        let root = self.path(kind.folder());
        let hours = time_range.map(|(from, to)| (hour_of(from), hour_of(to)));
        let mut prefixes = vec![root.clone()];
        if let Some((first, last)) = hours
            && (0..HOURS_ONE_BY_ONE).contains(&last.saturating_sub(first))
        {
            prefixes = (first..=last)
                .map(|hour| self.path(&format!("{}/{}", kind.folder(), hour_folder(hour * HOUR_NS))))
                .collect();
        }
        let mut listing = Listing::default();
        let mut files = Vec::new();
        for prefix in prefixes {
            let found: Vec<_> = self
                .store
                .list(Some(&prefix))
                .try_collect()
                .await
                .map_err(|error| self.failed("list files", error))?;
            for object in found {
                let name = object.location.filename().unwrap_or_default();
                match FileName::parse(name) {
                    Some(name) => files.push(HistoryFile {
                        location: object.location.clone(),
                        size: object.size,
                        name,
                    }),
                    // What is being written has such a name for a moment.
                    None if name.contains('#') => {}
                    None => listing.skipped.push(Skipped {
                        path: object.location.to_string(),
                        why: "its name is not that of a file of a history".to_owned(),
                    }),
                }
            }
        }
        (listing.files, listing.obsolete) = without_obsolete(files);
        let listed = listing.files.len();
        if let Some((from, to)) = time_range {
            listing.files.retain(|file| {
                let (earliest, latest) = file.name.time_range;
                earliest <= to && from <= latest
            });
        }
        listing.pruned = listed - listing.files.len();
        Ok(listing)
    }

    /// Writes what is known of a run.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn put_session(&self, session: &Session) -> Result<(), HistoryError> {
        let text = serde_json::to_vec_pretty(session).expect("invariant: text and numbers are JSON");
        self.put(&session_path(session), text.into()).await
    }

    /// The runs that the history tells of, oldest first. Files that say nothing are left out.
    ///
    /// # Errors
    /// If the store can't be listed or read.
    pub async fn sessions(&self) -> Result<Vec<Session>, HistoryError> {
        let files: Vec<_> = self
            .store
            .list(Some(&self.path("sessions")))
            .try_collect()
            .await
            .map_err(|error| self.failed("list sessions", error))?;
        let mut sessions: Vec<Session> = Vec::with_capacity(files.len());
        for file in files {
            // Beside them are the states of runs, and files that are being written.
            if !file.location.as_ref().ends_with(".json") {
                continue;
            }
            // One that has gone meanwhile says nothing either.
            let content = self.at(&file.location).await?;
            sessions.extend(content.and_then(|content| serde_json::from_slice::<Session>(&content).ok()));
        }
        sessions.sort_by_key(|session| (session.started_ns, session.log_id));
        Ok(sessions)
    }
}

fn session_path(session: &Session) -> String {
    format!(
        "sessions/{}_{:016x}.json",
        crate::layout::encode(&session.node),
        session.log_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listing_finds_what_was_written_in_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        assert!(matches!(store.check().await, Err(HistoryError::Missing { .. })));
        store.prepare().await.unwrap();
        store.check().await.unwrap();
        for hour in [10, 11, 12] {
            let name = FileName {
                node: "a b/ü".into(),
                log_id: 3,
                first_sequence: hour,
                end_sequence: hour + 1,
                time_range: (hour as i64 * HOUR_NS, hour as i64 * HOUR_NS + 5),
            };
            store
                .put(&name.path(Kind::Flows), Bytes::from_static(b"x"))
                .await
                .unwrap();
        }
        store
            .put("flows/date=1970-01-01/hour=11/notes.txt", Bytes::new())
            .await
            .unwrap();
        let count = async |range| store.list(Kind::Flows, range).await.unwrap().files.len();
        assert_eq!(count(None).await, 3);
        assert_eq!(count(Some((11 * HOUR_NS, 12 * HOUR_NS))).await, 2);
        assert_eq!(count(Some((11 * HOUR_NS + 6, 11 * HOUR_NS + 7))).await, 0);
        assert_eq!(count(Some((0, i64::MAX))).await, 3);
        let listing = store.list(Kind::Flows, None).await.unwrap();
        assert_eq!(
            (listing.skipped.len(), listing.files[0].name.node.as_str()),
            (1, "a b/ü")
        );
    }

    #[tokio::test]
    async fn another_format_and_other_places_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.put(MARKER, Bytes::from_static(b"{\"format\":2}")).await.unwrap();
        let error = store.prepare().await.unwrap_err().to_string();
        assert!(
            error.contains("has format 2, and this program reads and writes format 1"),
            "{error}"
        );
        let error = Store::open("ftp://x/y").unwrap_err().to_string();
        assert!(error.contains("give a folder, or a URL such as s3://"), "{error}");
        assert!(Store::open("").is_err());
    }
}
