#![allow(clippy::unwrap_used)]
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;

use super::*;

fn batch(milliseconds: &[i64]) -> FlowBatch {
    let mut builder = FlowBatchBuilder::new(1, 0);
    for time in milliseconds {
        builder.append(&FlowRecord {
            time_ns: time * 1_000_000,
            ..FlowRecord::default()
        });
    }
    builder.seal().unwrap()
}

fn player(batches: &[&[i64]], speed: &str) -> Player {
    let batches = batches.iter().map(|times| batch(times)).collect();
    Player::new(Recording::of(batches), speed.parse().unwrap())
}

fn times(batch: &FlowBatch) -> Vec<i64> {
    (0..batch.rows()).map(|row| batch.time_ns(row) / 1_000_000).collect()
}

/// Plays to the end, giving up after every other millisecond; what was played, and how long after the start.
async fn play(player: &mut Player) -> Vec<(Vec<i64>, Duration)> {
    let start = Instant::now();
    let mut played = Vec::new();
    loop {
        tokio::select! {
            biased;
            found = player.next() => match found.unwrap() {
                Some(batch) => played.push((times(&batch), start.elapsed())),
                None => return played,
            },
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
    }
}

#[tokio::test]
async fn flows_are_played_at_their_pace_and_nothing_is_lost_by_giving_up() {
    let mut player = player(&[&[0, 5, 200], &[202, 204], &[400]], "1");
    let played = play(&mut player).await;
    let flows: Vec<i64> = played.iter().flat_map(|(times, _)| times.clone()).collect();
    assert_eq!(flows, [0, 5, 200, 202, 204, 400]);
    assert_eq!(played[0].0, [0, 5]);
    for (times, after) in &played {
        // Late by what the machine likes, early by what is played together.
        assert!(after.as_millis() as i64 + 21 >= times[0], "{times:?} after {after:?}");
    }
    let position = player.position();
    assert_eq!((position.time_ns, position.first_ns), (Some(400_000_000), Some(0)));
    assert_eq!((position.flows, player.has_ended()), (6, true));
    assert_eq!(player.skipped(), None);
}

#[tokio::test]
async fn an_hour_without_flows_takes_a_second() {
    let mut player = player(&[&[0], &[3_600_000]], "1");
    let played = play(&mut player).await;
    assert!(played[1].1 >= Duration::from_millis(990), "{played:?}");
    // The clock went on a little while the first flow was handed out.
    let skipped = player.skipped().unwrap();
    assert!((3598..=3599).contains(&skipped.as_secs()), "{skipped:?}");
}

#[tokio::test]
async fn a_paused_player_steps_flow_by_flow_and_goes_on() {
    let mut player = player(&[&[0, 1, 2], &[3, 4]], "100");
    assert_eq!(
        (player.speed().to_string(), player.is_paused(), player.broken()),
        ("100x".to_owned(), false, 0)
    );
    player.pause();
    assert!(player.is_paused());
    let nothing = tokio::time::timeout(Duration::from_millis(50), player.next()).await;
    assert!(nothing.is_err(), "a paused player plays nothing");
    player.step();
    player.step();
    for time in [0, 1] {
        assert_eq!(times(&player.next().await.unwrap().unwrap()), [time]);
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), player.next())
            .await
            .is_err()
    );
    assert_eq!(player.position().flows, 2);
    player.resume();
    let rest = play(&mut player).await;
    assert_eq!(
        rest.iter().flat_map(|(times, _)| times.clone()).collect::<Vec<_>>(),
        [2, 3, 4]
    );
}

#[tokio::test]
async fn a_faster_speed_counts_at_once() {
    let mut player = player(&[&[0, 900]], "0.1");
    let start = Instant::now();
    assert_eq!(times(&player.next().await.unwrap().unwrap()), [0]);
    assert!(
        tokio::time::timeout(Duration::from_millis(10), player.next())
            .await
            .is_err()
    );
    player.set_speed("100".parse().unwrap());
    assert_eq!(times(&player.next().await.unwrap().unwrap()), [900]);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}
