//! What goes on while the viewer runs: keys, news, drawing, and what the viewer asks for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use crossterm::event::EventStream;
use flow::batch::FlowBatch;
use flow::clock::wall_ns;
use futures::StreamExt as _;
use nix::sys::signal::{Signal, raise};
use serving::signal::told_to_end;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use top::app::{App, CopyAs, Effect, ReplayCommand};
use top::news::News;

use super::player::Player;
use super::screen::{Screen, has_panicked};
use super::{copy_as, live, preferences, question, replay};
use crate::connect::Server;
use crate::observe::filter_line::FilterLine;
use crate::observe::filter_line::complete::{Names, complete};
use crate::observe::filters::FilterLists;
use crate::observe::matching::Matching;
use crate::settings::Settings;

/// After a key the screen is drawn within this time.
const FRAME: Duration = Duration::from_millis(16);
/// News alone draw it so often at most.
const NEWS_FRAME: Duration = Duration::from_millis(100);
/// What moves by itself (ages, rates) moves so often.
const TICK: Duration = Duration::from_millis(250);
const CALM_TICK: Duration = Duration::from_secs(2);
/// News that wait to be taken.
const QUEUE: usize = 64;
/// News are taken for so long at most before keys are looked at again.
const TURN: Duration = Duration::from_millis(10);
/// Flows of a replay that are kept whatever the filter.
const KEPT: usize = top::state::log::ROWS;

/// Where flows come from.
pub(super) enum Source {
    /// A server, with a connection that is there already.
    Live(Option<Box<Server>>, FilterLists),
    /// A recording.
    Replay(Box<Player>, Box<Matching>),
}

/// What stays of it while the viewer runs.
enum Running {
    Live(JoinHandle<()>),
    Replay {
        task: JoinHandle<()>,
        commands: Sender<ReplayCommand>,
        matching: Box<Matching>,
        /// All flows, so that another filter finds those that this one hides.
        kept: VecDeque<FlowBatch>,
        rows: usize,
    },
}

impl Running {
    fn task(&self) -> &JoinHandle<()> {
        match self {
            Self::Live(task) | Self::Replay { task, .. } => task,
        }
    }
}

/// The viewer with what it needs.
pub(super) struct Host {
    app: App,
    running: Running,
    settings: Settings,
    news: Receiver<News>,
    sender: Sender<News>,
    /// Time that nobody sets: of the wall when it started, and what has passed since.
    started: (i64, Instant),
}

impl Host {
    pub(super) fn new(app: App, source: Source, settings: Settings) -> Self {
        let (sender, news) = mpsc::channel(QUEUE);
        let running = match source {
            Source::Live(server, lists) => {
                let work = live::run(settings.clone(), lists, server.map(|server| *server), sender.clone());
                Running::Live(tokio::spawn(work))
            }
            Source::Replay(player, matching) => {
                let (commands, commanded) = mpsc::channel(QUEUE);
                let work = replay::run(app.name.clone(), *player, commanded, sender.clone());
                Running::Replay {
                    task: tokio::spawn(work),
                    commands,
                    matching,
                    kept: VecDeque::new(),
                    rows: 0,
                }
            }
        };
        Self {
            app,
            running,
            settings,
            news,
            sender,
            started: (wall_ns(), Instant::now()),
        }
    }

    fn now_ns(&self) -> i64 {
        let passed = i64::try_from(self.started.1.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.started.0.saturating_add(passed)
    }

    /// Shows flows until somebody wants no more, or the terminal is gone.
    pub(super) async fn run(mut self, mouse: bool) -> Result<()> {
        let mut screen = Screen::take()?;
        if mouse {
            self.app.mouse = true;
            screen.mouse(true)?;
        }
        let ended = self.until_it_ends(&mut screen).await;
        self.running.task().abort();
        drop(screen);
        ended
    }

    async fn until_it_ends(&mut self, screen: &mut Screen) -> Result<()> {
        let end = told_to_end()?;
        tokio::pin!(end);
        let mut events = EventStream::new();
        let mut ticks = tokio::time::interval(if self.app.reduced_motion { CALM_TICK } else { TICK });
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drawn: Option<Instant> = None;
        let mut is_typed = true;
        loop {
            if has_panicked() {
                bail!("a part of the viewer has failed; please report what is above");
            }
            let frame = if is_typed { FRAME } else { NEWS_FRAME };
            let since = drawn.map_or(frame, |drawn| drawn.elapsed());
            let is_due = since >= frame;
            if is_due && self.app.take_dirty() {
                screen.draw(&mut self.app)?;
                drawn = Some(Instant::now());
                is_typed = false;
            }
            tokio::select! {
                biased;
                () = &mut end => return Ok(()),
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        is_typed = true;
                        for effect in self.app.event(&event) {
                            if self.obey(effect, screen)? {
                                return Ok(());
                            }
                        }
                    }
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(()),
                },
                () = tokio::time::sleep(frame.saturating_sub(since)), if !is_due => {}
                _ = ticks.tick() => {
                    let now_ns = self.now_ns();
                    self.app.tick(now_ns);
                }
                Some(news) = self.news.recv() => {
                    self.hear(news);
                    let until = Instant::now() + TURN;
                    while Instant::now() < until && let Ok(news) = self.news.try_recv() {
                        self.hear(news);
                    }
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        let now_ns = self.now_ns();
        let Running::Replay {
            matching, kept, rows, ..
        } = &mut self.running
        else {
            self.app.hear(news, now_ns);
            return;
        };
        let News::Flows { batch, left_out } = news else {
            self.app.hear(news, now_ns);
            return;
        };
        *rows += batch.rows();
        kept.push_back(batch.clone());
        while *rows > KEPT
            && let Some(oldest) = kept.pop_front()
        {
            *rows -= oldest.rows();
        }
        if let Some(batch) = matching.matching(batch) {
            self.app.hear(News::Flows { batch, left_out }, now_ns);
        }
    }

    /// Does what the viewer asks for; whether it is to end.
    fn obey(&mut self, effect: Effect, screen: &mut Screen) -> Result<bool> {
        match effect {
            Effect::Quit => return Ok(true),
            Effect::Filter(line) => self.filter(&line),
            Effect::Complete { line, cursor } => self.complete(&line, cursor),
            Effect::Sql(question) => self.ask(question),
            Effect::Copy(copy_as, number) => self.copy(copy_as, number, screen)?,
            Effect::Replay(command) => {
                if let Running::Replay { commands, .. } = &self.running {
                    // Full: the same was asked for too often to be meant.
                    let _ = commands.try_send(command);
                }
            }
            Effect::Remember => {
                if let Err(error) = preferences::store(&self.app.preferences()) {
                    self.app.tell(format!("not remembered: {error:#}"));
                }
            }
            Effect::Mouse(on) => screen.mouse(on)?,
            Effect::Suspend => screen.without(|| {
                // Whoever can't be stopped goes on.
                let _ = raise(Signal::SIGTSTP);
            })?,
            Effect::Redraw => screen.clear()?,
        }
        Ok(false)
    }

    fn filter(&mut self, line: &str) {
        let parsed = match FilterLine::parse(line) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.app.prompt_is_wrong(error.range, error.message);
                return;
            }
        };
        let file = (self.settings.allowlist.as_slice(), self.settings.denylist.as_slice());
        let lists = match file {
            ([], []) => Ok(parsed.lists.clone()),
            file => FilterLists::build(&parsed.args, file),
        };
        let lists = match lists {
            Ok(lists) => lists,
            Err(error) => {
                self.app.prompt_is_wrong(0..line.len(), error.to_string());
                return;
            }
        };
        let wanted = match Matching::new(&lists, &parsed.args) {
            Ok(wanted) => wanted,
            Err(error) => {
                self.app.prompt_is_wrong(0..line.len(), error.to_string());
                return;
            }
        };
        match &mut self.running {
            Running::Live(task) => {
                task.abort();
                // What is on its way is of the filter before.
                let (sender, news) = mpsc::channel(QUEUE);
                self.sender = sender.clone();
                self.news = news;
                *task = tokio::spawn(live::run(self.settings.clone(), lists, None, sender));
                self.app.filter_is(line, std::iter::empty());
            }
            Running::Replay { matching, kept, .. } => {
                **matching = wanted;
                let again: Vec<FlowBatch> = kept
                    .iter()
                    .cloned()
                    .filter_map(|batch| matching.matching(batch))
                    .collect();
                self.app.filter_is(line, again);
            }
        }
        if !line.is_empty() {
            self.app.tell(format!("the same as: {}", parsed.observe_command()));
        }
    }

    fn complete(&mut self, line: &str, cursor: usize) {
        let seen = &self.app.state.names;
        let names = Names {
            namespaces: seen.namespaces.clone(),
            pods: seen.pods.clone(),
            workloads: seen.workloads.clone(),
            services: seen.services.clone(),
            nodes: seen.nodes.clone(),
            dns_names: seen.dns.clone(),
            drop_reasons: seen.reasons.clone(),
            ports: seen.ports.clone(),
        };
        let completions = complete(line, cursor, &names);
        self.app.offer(
            completions
                .into_iter()
                .map(|completion| top::app::Completion {
                    range: completion.range,
                    text: completion.text,
                    help: completion.help.to_owned(),
                })
                .collect(),
        );
    }

    fn ask(&mut self, question: String) {
        let flows = self.app.state.log.batches().map(|(_, batch)| batch.clone()).collect();
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // Nobody waits for it any more if this fails.
            let _ = sender.send(question::ask(question, flows).await).await;
        });
    }

    fn copy(&mut self, copy_as: CopyAs, number: u64, screen: &mut Screen) -> Result<()> {
        let Some(flow) = self.app.state.log.row(number).map(|row| row.batch.to_flow(row.place)) else {
            self.app.tell("this flow has left the log");
            return Ok(());
        };
        let (what, text) = match copy_as {
            CopyAs::Observe => ("observe", copy_as::observe_command(&flow)),
            CopyAs::Sql => ("SQL", copy_as::sql(&flow)),
            CopyAs::Tcpdump => ("tcpdump filter", copy_as::tcpdump_filter(&flow)),
            CopyAs::Json => ("JSON", serde_json::to_string(&flow).ok()),
        };
        match text {
            Some(text) => {
                screen.copy(&text)?;
                self.app.copied(
                    &format!("{what}: in the clipboard, if the terminal allows it (OSC 52)"),
                    text,
                );
            }
            None => self
                .app
                .tell(format!("this flow has no addresses: there is no {what} for it")),
        }
        Ok(())
    }
}
