//! An observer under load that is killed at any moment. The packets are numbered, so that what is missing is counted by
//! who sent them.
//!
//! `PARALLAX_KILLS=50` kills it more often than the test does by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use history::store::Store;

use crate::node::{Namespace, Observer, Traffic, available, reported, wait_for_session, written};

fn half_written(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => half_written(&entry.path()),
            false => usize::from(entry.file_name().to_string_lossy().contains('#')),
        })
        .sum()
}

/// A run, and when it was killed.
struct Run {
    log_id: u64,
    began: Instant,
    killed: Instant,
    /// Packets that were sent until then.
    sent: u32,
}

#[tokio::test]
async fn a_killed_observer_leaves_whole_files_and_accounts_for_the_rest() {
    if !available() {
        return;
    }
    let kills: u64 = std::env::var("PARALLAX_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("history");
    let namespace = Namespace::new();
    let traffic = Traffic::start(&namespace, Duration::from_micros(900));
    let store = Store::open(place.to_str().unwrap()).unwrap();
    let start = || Observer::start(&namespace, folder.path(), &place, &[]);
    let mut known = Vec::new();
    let mut runs = Vec::new();
    for number in 0..kills {
        let mut observer = start();
        let session = wait_for_session(&store, &known).await;
        known.push(session.log_id);
        observer.wait_for("a first flow", |status| status.seen > 0).await;
        let began = Instant::now();
        // Moments that differ in where the writer is: it writes once a second.
        let moment = 50 + number * 373 % 2100;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let (sent, killed) = (traffic.sent(), Instant::now());
        observer.kill();
        runs.push(Run {
            log_id: session.log_id,
            began,
            killed,
            sent,
        });
    }
    let last = start();
    let session = wait_for_session(&store, &known).await;
    last.wait_for("flows in files", |status| status.written > 0).await;
    last.end();

    assert_eq!(half_written(&place), 0);
    let sessions = store.sessions().await.unwrap();
    let files = written(&store, &namespace).await;
    assert_eq!(sessions.len() as u64, kills + 1);
    let (mut seen, mut kept, mut lost, mut missed) = (0, 0, 0, 0);
    let mut ages = Vec::new();
    for of in &sessions {
        assert!(of.ended_ns.is_some(), "{of:?}");
        let in_files = files.get(&of.log_id);
        let rows = in_files.map_or(0, |run| run.rows);
        assert_eq!(rows + of.lost, of.flows, "{of:?}");
        seen += of.flows;
        kept += rows;
        lost += of.lost;
        let Some(run) = runs.iter().find(|run| run.log_id == of.log_id) else {
            assert_eq!((of.log_id, of.lost), (session.log_id, 0), "a clean end loses nothing");
            continue;
        };
        let Some((first, newest)) = in_files.and_then(|run| run.packets.first().zip(run.packets.last())) else {
            ages.push(run.killed - run.began);
            continue;
        };
        // By who sent them: nothing is missing but the newest.
        let count = in_files.map_or(0, |run| run.packets.len());
        assert_eq!(
            count,
            (newest - first + 1) as usize,
            "packets are missing in the middle"
        );
        assert!(*newest < run.sent + 100, "packets of after the kill");
        missed += u64::from(run.sent.saturating_sub(newest + 1));
        ages.push(run.killed.saturating_duration_since(traffic.when(*newest)));
    }
    assert_eq!(reported(&store).await, lost);
    ages.sort_unstable();
    let (median, most) = (ages[ages.len() / 2], ages[ages.len() - 1]);
    let late = ages.iter().filter(|age| **age > Duration::from_millis(1100)).count();
    let with_files = runs.iter().filter(|run| files.contains_key(&run.log_id)).count();
    println!(
        "{kills} kills, {with_files} with files before: {seen} flows noted, {kept} in files, {lost} reported lost; packets \
         sent and missing in these {with_files}: {missed}; time before the kill that is missing: median {median:?}, most \
         {most:?}, more than 1.1 s at {late}"
    );
    assert!(kept > 0 && lost > 0, "kept {kept}, lost {lost}");
    // A second and what a busy machine adds.
    assert!(
        median < Duration::from_secs(2) && most < Duration::from_secs(4),
        "{ages:?}"
    );
    // Of what nobody wrote, only that is not told which was seen in the last moment before the kill.
    let flows_per_packet = kept as f64 / files.values().map(|run| run.packets.len()).sum::<usize>() as f64;
    let told = lost as f64 / flows_per_packet;
    let moments = kills as f64 * 0.7 / 0.001;
    assert!(
        told >= missed as f64 - moments,
        "{missed} packets are missing, and flows of {told:.0} are told"
    );
}
