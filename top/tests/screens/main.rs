//! Every screen at three sizes, drawn from flows that a real observer has seen in the demo.

mod demo;

use std::time::Duration;

use demo::{Viewer, demo_flows};
use top::app::Settings;
use top::news::{Connection, LeftOut, News, NodeNews, Replay};
use top::theme::Palette;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Draws at each size, after the keys.
fn at_all_sizes(name: &str, keys: &str) {
    for (width, height) in SIZES {
        let mut viewer = Viewer::of_demo(width, height);
        viewer.keys(keys);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), viewer.screen());
    }
}

#[test]
fn flows() {
    at_all_sizes("flows", "");
}

#[test]
fn drops() {
    at_all_sizes("drops", "2");
}

#[test]
fn connections() {
    at_all_sizes("connections", "3");
}

#[test]
fn talkers() {
    at_all_sizes("talkers", "4");
}

#[test]
fn map() {
    at_all_sizes("map", "5");
}

#[test]
fn the_map_draws_what_the_keys_are_on() {
    let mut viewer = Viewer::of_demo(80, 24);
    viewer.keys("5");
    assert!(!viewer.screen().contains("ff02::2"), "it is neither bad nor busy");
    viewer.keys(&format!("{}kk", "j".repeat(100)));
    let shown = viewer.screen();
    let drawn = shown.split("WHO TALKS").next().unwrap_or_default();
    assert!(drawn.contains("▶┗ ICMPv6") && drawn.contains("ff02::2"), "{shown}");
}

#[test]
fn nodes() {
    at_all_sizes("nodes", "6");
}

#[test]
fn packets_of_a_drop() {
    at_all_sizes("packets", "2\n");
}

#[test]
fn details_of_a_drop() {
    at_all_sizes("details", "2\n\n");
}

#[test]
fn the_connection_of_a_drop() {
    at_all_sizes("connection", "2\n\n\t");
}

#[test]
fn headers_of_a_drop() {
    at_all_sizes("headers", "2\n\n\t\t");
}

#[test]
fn help() {
    at_all_sizes("help", "?");
}

#[test]
fn columns() {
    at_all_sizes("columns", "cjj ");
}

#[test]
fn a_viewer_without_flows_says_what_it_waits_for() {
    for (screen, width) in [("1", 80), ("2", 120), ("3", 80), ("4", 120), ("5", 80), ("6", 80)] {
        let mut viewer = Viewer::new(width, 24, Settings::default());
        viewer.keys(screen);
        let shown = viewer.screen();
        assert!(
            ["so far", "by bytes"].iter().any(|word| shown.contains(word)),
            "{shown}"
        );
    }
}

#[test]
fn a_terminal_that_is_too_small_says_what_is_needed() {
    let mut viewer = Viewer::of_demo(20, 5);
    insta::assert_snapshot!("too_small", viewer.screen());
    viewer.resize(5, 1);
    viewer.keys("2\n\n\t?q12345");
    viewer.screen();
}

#[test]
fn losses_lost_connections_and_samples_are_told() {
    let mut viewer = Viewer::of_demo(120, 24);
    viewer.hear(News::Lost {
        node: "demo".to_owned(),
        count: 1234,
        place: "kernel ring",
    });
    viewer.hear(News::Connection(Connection::Lost {
        why: "the server closed the connection".to_owned(),
        again_in: Duration::from_secs(2),
    }));
    viewer.hear(News::Flows {
        batch: demo_flows(),
        left_out: LeftOut { others: 9000, drops: 0 },
    });
    let shown = viewer.screen();
    insta::assert_snapshot!("told", shown);
    assert!(shown.contains("1,234 flows lost in the last minute"), "{shown}");
    assert!(shown.contains("tried again in 2.0s"), "{shown}");
    assert!(shown.contains("sample: 1 of 14"), "{shown}");
    viewer.hear(News::Connection(Connection::Connected {
        server: "parallax 1".to_owned(),
    }));
    let shown = viewer.screen();
    assert!(
        shown.contains("connected again") && !shown.contains("tried again"),
        "{shown}"
    );
}

#[test]
fn rates_are_exact_also_where_drops_leave_no_room_for_others() {
    let mut viewer = Viewer::new(120, 24, Settings::default());
    viewer.hear_json(
        r#"{"flow":{"time":"2026-11-28T10:00:00Z","verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED",
            "event_type":{"type":1},"node_name":"demo"}}"#,
    );
    viewer.hear(News::LeftOut(LeftOut {
        others: 9_000,
        drops: 1_000,
    }));
    // Rates are those of whole seconds, five of them.
    viewer.now_ns += 1_000_000_000;
    let shown = viewer.screen();
    assert!(
        shown.contains("2.0k/s flows") && shown.contains("200/s drops"),
        "{shown}"
    );
}

#[test]
fn the_prompt_shows_what_is_wrong_in_place() {
    let mut viewer = Viewer::of_demo(100, 24);
    viewer.keys("fport:99999999");
    viewer
        .app
        .prompt_is_wrong(5..13, "not a port: give a number from 1 to 65535".to_owned());
    let shown = viewer.screen();
    let line = shown.lines().find(|line| line.contains("✗ not a port")).unwrap();
    assert_eq!(
        line.chars().position(|char| char == '✗'),
        Some(" filter: port:".len()),
        "{shown}"
    );
}

#[test]
fn a_replay_says_where_it_is() {
    let mut viewer = Viewer::of_demo(120, 24);
    viewer.hear(News::Replay(Replay {
        name: "flows.jsonl".to_owned(),
        speed: 10.0,
        is_paused: true,
        at_ns: Some(viewer.now_ns),
        range_ns: None,
        skipped: None,
    }));
    let shown = viewer.screen();
    assert!(shown.contains("⏸ replay") && shown.contains("×10"), "{shown}");
}

#[test]
fn nodes_that_are_away_come_first_and_say_why() {
    let mut viewer = Viewer::of_demo(120, 24);
    let node = |name: &str, problem: &str| NodeNews {
        name: name.to_owned(),
        is_connected: problem.is_empty(),
        problem: problem.to_owned(),
        ..NodeNews::default()
    };
    viewer.hear(News::Nodes(vec![node("a", ""), node("b", "connection refused")]));
    viewer.keys("6");
    let shown = viewer.screen();
    let line = |name: &str| shown.lines().position(|line| line.starts_with(name)).unwrap();
    assert!(
        line("b ") < line("a ") && shown.contains("✗ connection refused"),
        "{shown}"
    );
    assert!(shown.contains("nodes 2/3"), "{shown}");
}

#[test]
fn what_comes_from_the_network_never_steers_the_terminal_nor_leaves_its_cell() {
    let mut viewer = Viewer::new(100, 30, Settings::default());
    let long = "x".repeat(300);
    let names = [
        "\x1b[2J\x07",
        "日本語のとても長いポッドの名前",
        "שלום-עולם\u{202e}",
        long.as_str(),
    ];
    for name in names {
        viewer.hear_json(&format!(
            r#"{{"flow":{{"time":"2026-11-28T10:00:00Z","verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED",
                "IP":{{"source":"192.0.2.1","destination":"192.0.2.2"}},"l4":{{"TCP":{{"source_port":1,"destination_port":2}}}},
                "source":{{"namespace":{0},"pod_name":{0}}},"destination":{{"pod_name":{0}}},
                "event_type":{{"type":1}},"node_name":{0}}}}}"#,
            serde_json::to_string(name).unwrap()
        ));
    }
    for keys in ["1", "2", "3", "4", "5", "6", "2\n", "\n", "\t"] {
        viewer.keys(keys);
        let shown = viewer.screen();
        assert!(
            !shown.chars().any(|char| char.is_control() && char != '\n'),
            "{keys}: {shown:?}"
        );
        assert!(!shown.contains('\u{202e}'), "{keys}: {shown}");
    }
}

#[test]
fn without_colours_nothing_is_coloured_and_with_them_drops_are_red() {
    let mut plain = Viewer::of_demo(120, 40);
    plain.keys("2");
    assert!(plain.styles().all(|(fg, bg)| fg.is_none() && bg.is_none()));
    for palette in [Palette::Sixteen, Palette::Dark, Palette::Light] {
        let mut colored = Viewer::of_demo_in(120, 40, palette);
        colored.keys("2");
        assert!(colored.styles().any(|(fg, _)| fg.is_some()));
    }
}

#[test]
fn clocks_that_jump_leave_the_screen_alive() {
    let mut viewer = Viewer::of_demo(120, 40);
    for seconds in [-3_600, 7_200, -86_400 * 365 * 20, 86_400 * 365 * 50] {
        viewer.now_ns += 5_000_000_000;
        let now_ns = viewer.now_ns;
        viewer.hear(News::flows(demo::demo_flows_at(now_ns + seconds * 1_000_000_000)));
        viewer.now_ns += 1_500_000_000;
        let shown = viewer.screen();
        assert!(
            !shown.contains(" 0.0/s flows") && !shown.contains(" 0/s flows"),
            "{seconds}: {shown}"
        );
    }
}
