//! A recording on its way to the viewer.

use tokio::sync::mpsc::{Receiver, Sender};
use top::app::ReplayCommand;
use top::news::{Connection, News, Replay};

use super::player::Player;

/// Plays until nobody listens. `name`: what is played.
pub(super) async fn run(name: String, mut player: Player, mut commands: Receiver<ReplayCommand>, out: Sender<News>) {
    if out.send(told(&name, &mut player)).await.is_err() {
        return;
    }
    loop {
        let news = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => {
                    obey(&mut player, command);
                    told(&name, &mut player)
                }
                None => return,
            },
            next = player.next(), if !player.has_ended() => match next {
                Ok(Some(batch)) => {
                    // Where the replay is, before its flows: they are of that time.
                    if out.send(told(&name, &mut player)).await.is_err() {
                        return;
                    }
                    News::flows(batch)
                }
                Ok(None) => {
                    let left_out = match player.broken() {
                        0 => String::new(),
                        broken => format!(", {broken} lines that are no flows left out"),
                    };
                    let told = format!("the replay has ended: {} flows{left_out}", player.position().flows);
                    if out.send(News::Connection(Connection::Ended)).await.is_err() {
                        return;
                    }
                    News::Notice(told)
                }
                Err(error) => News::Notice(format!("the replay has ended: {error:#}")),
            },
        };
        if out.send(news).await.is_err() {
            return;
        }
    }
}

fn obey(player: &mut Player, command: ReplayCommand) {
    match command {
        ReplayCommand::Pause if player.is_paused() => player.resume(),
        ReplayCommand::Pause => player.pause(),
        ReplayCommand::Faster => player.set_speed(player.speed().times(2.0)),
        ReplayCommand::Slower => player.set_speed(player.speed().times(0.5)),
        ReplayCommand::Step => player.step(),
    }
}

fn told(name: &str, player: &mut Player) -> News {
    let position = player.position();
    News::Replay(Replay {
        name: name.to_owned(),
        speed: player.speed().factor(),
        is_paused: player.is_paused(),
        at_ns: position.time_ns.or(position.first_ns),
        range_ns: position.first_ns.zip(position.last_ns),
        skipped: player.skipped(),
    })
}
