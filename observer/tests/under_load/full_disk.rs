//! A history that can't be written for a while.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use history::store::Store;

use crate::node::{METRICS, Namespace, Observer, Traffic, available, written};

/// A small file system in memory, which goes with the test.
struct Disk(PathBuf);

impl Disk {
    fn new(place: &Path) -> Self {
        std::fs::create_dir(place).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
            .arg(place)
            .status();
        assert!(mount.unwrap().success(), "cannot mount a tmpfs");
        Self(place.to_owned())
    }

    /// Leaves no byte free.
    fn fill(&self) {
        // It ends with the error that it is for.
        let _ = std::fs::write(self.0.join("ballast"), vec![1; 64 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_pauses_the_history_and_nothing_is_missing_afterwards() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(&folder.path().join("disk"));
    let place = disk.0.join("history");
    let namespace = Namespace::new();
    let traffic = Traffic::start(&namespace, Duration::from_millis(2));
    let observer = Observer::start(&namespace, folder.path(), &place, &["--metrics-listen", METRICS]);
    observer.wait_for("a first file", |status| status.written > 0).await;
    disk.fill();
    let paused = observer.wait_for("a pause", |status| !status.problem.is_empty()).await;
    assert!(paused.problem.contains("No space left on device"), "{}", paused.problem);
    let metrics = namespace.metrics();
    assert!(metrics.contains("\nparallax_history_paused 1\n"), "{metrics}");
    let sent = traffic.sent();
    // It goes on observing meanwhile.
    let meanwhile = observer
        .wait_for("more flows", |status| status.seen > paused.seen + 500)
        .await;
    assert!(!meanwhile.problem.is_empty());
    disk.free();
    observer
        .wait_for("the end of the pause", |status| {
            status.problem.is_empty() && status.written > meanwhile.seen
        })
        .await;
    let metrics = namespace.metrics();
    assert!(metrics.contains("\nparallax_history_paused 0\n"), "{metrics}");
    // The other half of observer/tests/serve/metrics.rs, which has no history.
    let manual = include_str!("../../../docs/metrics.md");
    for name in metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        let known = name == "target_info" || manual.contains(&format!("`{name}`"));
        assert!(known, "docs/metrics.md does not name {name}");
    }
    observer.end();
    let store = Store::open(place.to_str().unwrap()).unwrap();
    let session = &store.sessions().await.unwrap()[0];
    let runs = written(&store, &namespace).await;
    let run = &runs[&session.log_id];
    assert_eq!((session.lost, run.rows), (0, session.flows));
    let (first, newest) = (run.packets.first().unwrap(), run.packets.last().unwrap());
    assert!(*newest > sent);
    assert_eq!(
        run.packets.len(),
        (newest - first + 1) as usize,
        "what came meanwhile is there too"
    );
}

/// A folder that nobody may write to, not even root: its files and folders are marked as immutable.
struct Immutable(PathBuf);

impl Immutable {
    /// `None` where the file system has no such mark.
    fn new(place: &Path) -> Option<Self> {
        let marked = Self(place.to_owned());
        marked.mark("+i").then_some(marked)
    }

    fn mark(&self, mark: &str) -> bool {
        let done = Command::new("chattr").args(["-R", mark]).arg(&self.0).output();
        done.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.mark("-i");
    }
}

#[tokio::test]
async fn a_folder_that_may_no_longer_be_written_to_pauses_the_history() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("history");
    let namespace = Namespace::new();
    let traffic = Traffic::start(&namespace, Duration::from_millis(2));
    let observer = Observer::start(&namespace, folder.path(), &place, &[]);
    let started = observer.wait_for("a first file", |status| status.written > 0).await;
    let Some(immutable) = Immutable::new(&place) else {
        println!("skipped: a_folder_that_may_no_longer_be_written_to_pauses_the_history: chattr +i does not work here");
        return;
    };
    let paused = observer.wait_for("a pause", |status| !status.problem.is_empty()).await;
    println!("paused: {}", paused.problem);
    assert!(
        paused.problem.contains("not permitted") || paused.problem.contains("denied"),
        "{}",
        paused.problem
    );
    let meanwhile = observer
        .wait_for("more flows", |status| status.seen > paused.seen + 500)
        .await;
    let sent = traffic.sent();
    drop(immutable);
    observer
        .wait_for("the end of the pause", |status| {
            status.problem.is_empty() && status.written > meanwhile.seen
        })
        .await;
    observer.end();
    let store = Store::open(place.to_str().unwrap()).unwrap();
    let session = &store.sessions().await.unwrap()[0];
    let runs = written(&store, &namespace).await;
    let run = &runs[&session.log_id];
    assert!(session.flows > started.seen);
    assert_eq!((session.lost, run.rows), (0, session.flows));
    let (first, newest) = (run.packets.first().unwrap(), run.packets.last().unwrap());
    assert!(*newest > sent);
    assert_eq!(run.packets.len(), (newest - first + 1) as usize);
}

#[tokio::test]
async fn what_a_long_pause_did_not_keep_is_told() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(&folder.path().join("disk"));
    let place = disk.0.join("history");
    let namespace = Namespace::new();
    let _traffic = Traffic::start(&namespace, Duration::from_micros(300));
    // Smaller than a full batch with its open successor: batches leave as soon as the next one is there.
    let observer = Observer::start(&namespace, folder.path(), &place, &["--memory", "1MiB"]);
    observer.wait_for("a first file", |status| status.written > 0).await;
    disk.fill();
    let paused = observer.wait_for("a pause", |status| !status.problem.is_empty()).await;
    observer
        .wait_for("flows that left the log", |status| status.seen > paused.seen + 50_000)
        .await;
    disk.free();
    let resumed = observer
        .wait_for("the end of the pause", |status| status.problem.is_empty())
        .await;
    observer
        .wait_for("more in files", |status| status.written > resumed.seen)
        .await;
    observer.end();
    let store = Store::open(place.to_str().unwrap()).unwrap();
    let session = &store.sessions().await.unwrap()[0];
    let rows = written(&store, &namespace).await[&session.log_id].rows;
    let lost = crate::node::reported(&store).await;
    println!("{} flows: {rows} in files, {lost} told as lost", session.flows);
    assert!(lost > 0);
    assert_eq!((rows + lost, session.lost), (session.flows, lost));
}
