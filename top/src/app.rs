//! What is shown, and what happens to it.

mod details;
mod flow_list;
mod hear;
pub mod lists;
pub(crate) mod overlay;
mod prompt;
pub(crate) mod search;

use chrono::FixedOffset;
use flow::batch::FlowBatch;
use serde::{Deserialize, Serialize};

pub use details::{Details, Part};
pub use flow_list::{FlowList, Order};
pub use lists::{Item, List, Sort, Target};
pub use overlay::{Copied, Overlay, Packets};
pub use prompt::{Completion, Prompt, PromptKind};

use crate::columns::Columns;
use crate::line_editor::LineHistory;
use crate::screen::Screen;
use crate::state::State;
use crate::state::talkers::{By, Measure};
use crate::theme::{Palette, Theme};

/// The packet of a row as bytes: its headers as far as the flow has kept them. `None` for rows that are no packets.
pub type Headers = fn(&FlowBatch, usize) -> Option<Vec<u8>>;

/// How the viewer starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Colours.
    pub palette: Palette,
    /// Where times are of.
    pub zone: FixedOffset,
    /// What is remembered from last time.
    pub preferences: Preferences,
    /// The server, or the file: the first word of the title.
    pub name: String,
    /// The filter that is in force already.
    pub filter: String,
    /// Makes the bytes of a packet.
    pub headers: Headers,
    /// Nothing moves but what has changed.
    pub reduced_motion: bool,
    /// Flows that are kept.
    pub rows: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            palette: Palette::None,
            zone: FixedOffset::east_opt(0).expect("invariant: UTC is a zone"),
            preferences: Preferences::default(),
            name: String::new(),
            filter: String::new(),
            headers: |_, _| None,
            reduced_motion: false,
            rows: crate::state::log::ROWS,
        }
    }
}

/// What is remembered from one time to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Preferences {
    /// Columns of the list of flows. Not the screen: whoever opens the viewer is to see what is wrong.
    pub columns: Columns,
}

/// What the owner of the app has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End.
    Quit,
    /// Show only flows of this filter; [`App::filter_is`] or [`App::prompt_is_wrong`] is the answer.
    Filter(String),
    /// Say what could be typed there; [`App::offer`] is the answer.
    Complete {
        /// The line.
        line: String,
        /// Place of the cursor in it, bytes.
        cursor: usize,
    },
    /// Ask this question; [`crate::news::News::Answer`] is the answer.
    Sql(String),
    /// Make text of this flow for the clipboard; [`App::copied`] is the answer.
    Copy(CopyAs, u64),
    /// Change the replay.
    Replay(ReplayCommand),
    /// Remember [`App::preferences`].
    Remember,
    /// Switch the mouse on or off.
    Mouse(bool),
    /// Stop the program, as shells do on Ctrl-Z.
    Suspend,
    /// Draw everything anew, whatever is on the terminal.
    Redraw,
}

/// What a flow is copied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyAs {
    /// A command line of `parallax observe` that shows its connection.
    Observe,
    /// A question in SQL.
    Sql,
    /// A filter for tcpdump and Wireshark.
    Tcpdump,
    /// The flow as JSON.
    Json,
}

/// What to do with the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayCommand {
    /// Stand still, or go on.
    Pause,
    /// Twice as fast.
    Faster,
    /// Half as fast.
    Slower,
    /// A flow further, and stand still.
    Step,
}

/// The viewer.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub state: State,
    /// What is shown.
    pub screen: Screen,
    /// Styles.
    pub theme: Theme,
    /// Zone of times.
    pub zone: FixedOffset,
    /// Columns of flows.
    pub columns: Columns,
    /// The list of flows.
    pub flows: FlowList,
    /// The lists of the other screens.
    pub lists: [List; 6],
    /// What is above the screen, the last one on top.
    pub overlays: Vec<Overlay>,
    /// The line that is typed, if one is.
    pub prompt: Option<Prompt>,
    /// The filter in force.
    pub filter: String,
    /// What was searched for.
    pub search: Option<String>,
    /// What talkers are counted by.
    pub by: By,
    /// What they are ordered by.
    pub measure: Measure,
    /// The server, or the file.
    pub name: String,
    /// Whether nothing moves but what has changed.
    pub reduced_motion: bool,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// Something to tell, until then.
    notice: Option<(String, i64)>,
    /// Now, nanoseconds since the Unix epoch; of a replay, the time that is replayed.
    now_ns: i64,
    /// Now, whatever is replayed.
    clock_ns: i64,
    /// Whether the screen has to be drawn again.
    dirty: bool,
    headers: Headers,
    histories: [LineHistory; 3],
    rows: usize,
    /// Where tabs and titles are on the screen, for the mouse.
    pub(crate) places: crate::input::mouse::Places,
}

/// For so long a notice is shown, nanoseconds.
const NOTICE_NS: i64 = 4_000_000_000;

impl App {
    /// A viewer that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut state = State::default();
        state.log = crate::state::log::Log::new(settings.rows);
        Self {
            state,
            screen: Screen::default(),
            theme: Theme::new(settings.palette),
            zone: settings.zone,
            columns: settings.preferences.columns,
            flows: FlowList::default(),
            lists: Default::default(),
            overlays: Vec::new(),
            prompt: None,
            filter: settings.filter,
            search: None,
            by: By::default(),
            measure: Measure::default(),
            name: settings.name,
            reduced_motion: settings.reduced_motion,
            mouse: false,
            notice: None,
            now_ns: 0,
            clock_ns: 0,
            dirty: true,
            headers: settings.headers,
            histories: Default::default(),
            rows: settings.rows,
            places: Default::default(),
        }
    }

    /// Now, as it was told last.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// The second of now.
    #[must_use]
    pub fn second(&self) -> i64 {
        self.now_ns / 1_000_000_000
    }

    /// What is to be remembered.
    #[must_use]
    pub fn preferences(&self) -> Preferences {
        Preferences {
            columns: self.columns.clone(),
        }
    }

    /// The list of the screen that is shown.
    pub fn list(&mut self) -> &mut List {
        &mut self.lists[self.screen.place()]
    }

    /// What is to be told at the moment.
    #[must_use]
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_ref().map(|(text, _)| text.as_str())
    }

    /// Tells something for a moment.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.notice = Some((text.into(), self.clock_ns.saturating_add(NOTICE_NS)));
        self.dirty = true;
    }

    /// Whether the screen has to be drawn, after which it hasn't.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// The screen has to be drawn again.
    pub fn redraw(&mut self) {
        self.dirty = true;
    }

    /// Shows a screen.
    pub fn show(&mut self, screen: Screen) {
        self.overlays.clear();
        self.screen = screen;
        self.dirty = true;
    }

    /// The bytes of a packet.
    pub(crate) fn headers_of(&self, batch: &FlowBatch, place: usize) -> Option<Vec<u8>> {
        (self.headers)(batch, place)
    }

    /// A filter is in force, and these flows are what is there of it already. What was known of others is forgotten.
    pub fn filter_is(&mut self, filter: &str, flows: impl IntoIterator<Item = FlowBatch>) {
        self.filter = filter.to_owned();
        self.prompt = None;
        self.forget_flows();
        for batch in flows {
            self.state.push(batch, Default::default(), self.now_ns);
        }
        self.dirty = true;
    }

    fn forget_flows(&mut self) {
        self.state.restart();
        self.state.log = crate::state::log::Log::new(self.rows);
        self.overlays.clear();
        self.flows = FlowList::default();
        for list in &mut self.lists {
            *list = List {
                sort: list.sort,
                ..List::default()
            };
        }
    }
}
