//! A viewer in memory, and flows that a real observer has seen in `parallax demo`.

use std::sync::LazyLock;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use flow::api::flow::Flow;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::from_api::FlowReader;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use top::app::{App, Effect, Settings};
use top::news::{Connection, News};
use top::theme::Palette;
use top::view;

/// As `parallax observe -o json` wrote them.
const FLOWS: &str = include_str!("flows.jsonl");

fn flows_of(text: &str) -> Vec<Flow> {
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<GetFlowsResponse>(line).expect("a flow"));
    lines
        .filter_map(|response| match response.response_types {
            Some(ResponseTypes::Flow(flow)) => Some(flow),
            _ => None,
        })
        .collect()
}

fn batch_of(flows: &[Flow]) -> FlowBatch {
    FlowReader::default().batch(flows).expect("flows")
}

/// The flows of the demo.
pub fn demo_flows() -> FlowBatch {
    static FLOWS_OF_DEMO: LazyLock<FlowBatch> = LazyLock::new(|| batch_of(&flows_of(FLOWS)));
    FLOWS_OF_DEMO.clone()
}

/// The same as if all of them were from that time.
pub fn demo_flows_at(time_ns: i64) -> FlowBatch {
    let mut flows = flows_of(FLOWS);
    for flow in &mut flows {
        flow.time = Some(flow::api::Timestamp::from_nanos(time_ns));
    }
    batch_of(&flows)
}

/// A viewer.
pub struct Viewer {
    pub app: App,
    pub now_ns: i64,
    /// What the keys asked for.
    pub effects: Vec<Effect>,
    terminal: Terminal<TestBackend>,
}

impl Viewer {
    pub fn new(width: u16, height: u16, settings: Settings) -> Self {
        let settings = Settings {
            name: "demo:4245".to_owned(),
            headers: |_, _| Some(SYN.to_vec()),
            ..settings
        };
        let mut viewer = Self {
            app: App::new(settings),
            now_ns: 1_764_324_450_000_000_000,
            effects: Vec::new(),
            terminal: Terminal::new(TestBackend::new(width, height)).expect("memory"),
        };
        viewer.hear(News::Connection(Connection::Connected {
            server: "parallax 0.1.0".to_owned(),
        }));
        viewer
    }

    pub fn of_demo(width: u16, height: u16) -> Self {
        Self::of_demo_in(width, height, Palette::None)
    }

    pub fn of_demo_in(width: u16, height: u16, palette: Palette) -> Self {
        let settings = Settings {
            palette,
            ..Settings::default()
        };
        let mut viewer = Self::new(width, height, settings);
        let flows = demo_flows();
        // A second after the last of them.
        viewer.now_ns = flows.time_range().1 + 1_000_000_000;
        viewer.hear(News::flows(flows));
        viewer
    }

    pub fn hear(&mut self, news: News) {
        self.app.hear(news, self.now_ns);
    }

    pub fn hear_json(&mut self, text: &str) {
        let flows = flows_of(&text.replace('\n', " "));
        self.now_ns = flows[0].time.as_ref().expect("a time").to_nanos() + 1_000_000_000;
        self.hear(News::flows(batch_of(&flows)));
    }

    /// Presses keys: `\n` is Enter, `\t` Tab, `\x1b` Escape.
    pub fn keys(&mut self, keys: &str) {
        for char in keys.chars() {
            // Lists are made, and heights known, when they are drawn.
            self.screen();
            let code = match char {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\x1b' => KeyCode::Esc,
                char => KeyCode::Char(char),
            };
            let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
            self.effects.extend(self.app.event(&event));
        }
    }

    pub fn resize(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
    }

    /// What is on the screen.
    pub fn screen(&mut self) -> String {
        self.app.tick(self.now_ns);
        self.terminal
            .draw(|frame| view::draw(frame, &mut self.app))
            .expect("memory");
        let buffer = self.terminal.backend().buffer();
        let area = buffer.area;
        let mut text = String::new();
        for y in 0..area.height {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..area.width {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                let symbol = buffer[(x, y)].symbol();
                skip = top::width::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Colours of all cells.
    pub fn styles(&mut self) -> impl Iterator<Item = (Option<Color>, Option<Color>)> {
        self.screen();
        let cells = &self.terminal.backend().buffer().content;
        let color = |color| (color != Color::Reset).then_some(color);
        cells.iter().map(move |cell| (color(cell.fg), color(cell.bg)))
    }
}

/// Ethernet, IPv4 and TCP: the first packet of a connection to port 81.
const SYN: [u8; 54] = [
    0x36, 0x2f, 0x36, 0xef, 0xe6, 0x70, 0x8e, 0x4f, 0xed, 0xd5, 0x41, 0x51, 0x08, 0x00, // Ethernet
    0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00, 10, 1, 0, 20, 10, 1, 0, 10, // IPv4
    0xe5, 0xde, 0x00, 0x51, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, // TCP
];
