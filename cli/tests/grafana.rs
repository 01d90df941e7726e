//! The dashboards and alerts of `grafana/`: they are what their generator makes, they hold together, and every expression
//! has an answer where a real Prometheus scrapes a real observer of the demo's traffic.

#[path = "../../observer/tests/serve/python.rs"]
mod python;
#[path = "grafana/settings.rs"]
mod settings;
#[path = "grafana/sql.rs"]
mod sql;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

/// How long the demo is observed before anything is asked.
const OBSERVED: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(30);
const METRICS: &str = "127.0.0.1:9965";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// What draws, from PyPI.
const PLOTTING: &str = "matplotlib==3.10.7";

/// Grafana's own model of dashboards, made from its schema; from PyPI.
const SCHEMA: &str = "grafana-foundation-sdk==1769699998!10.1.0";

/// Expressions that have no answer in the demo, and why.
const SILENT: [(&str, &str); 2] = [
    (
        "ParallaxLostEvents",
        "the demo loses nothing, and a stage without losses has no series",
    ),
    ("tcp, Retransmits", "nothing is sent again on links that lose nothing"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana")
}

fn dashboards() -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder().join("dashboards")).expect("a folder of dashboards");
    files
        .map(|file| {
            let path = file.expect("a file").path();
            let text = fs::read_to_string(&path).expect("text");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect()
}

fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    board["panels"].as_array().expect("panels").iter()
}

fn expressions(board: &Value) -> impl Iterator<Item = (&str, &str)> {
    panels(board).flat_map(|panel| {
        let title = panel["title"].as_str().expect("a title");
        let targets = panel["targets"].as_array().into_iter().flatten();
        let of_prometheus = targets.filter(|target| target["queryText"].is_null());
        of_prometheus.map(move |target| (title, target["expr"].as_str().expect("an expression")))
    })
}

/// What panels ask in SQL.
fn questions(board: &Value) -> impl Iterator<Item = &str> {
    let targets = panels(board).flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| target["queryText"].as_str())
}

/// Expressions of alerts without their limits.
fn alerts() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("alerts.yaml")).expect("alerts");
    let rules: Value = serde_saphyr::from_str(&text).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules").clone();
    rules
        .iter()
        .map(|rule| {
            let expr = rule["expr"].as_str().expect("an expression");
            let (inner, _) = expr.rsplit_once(") >").expect("a limit");
            let name = rule["alert"].as_str().expect("a name").to_owned();
            (name, inner.strip_prefix('(').expect("in parentheses").to_owned())
        })
        .collect()
}

#[test]
fn what_is_committed_is_what_the_generator_makes() {
    let made = Command::new("python3")
        .arg(folder().join("generate.py"))
        .arg("--check")
        .output();
    let Ok(made) = made else {
        println!("skipped: there is no python3");
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn dashboards_hold_together() {
    let boards = dashboards();
    assert_eq!(
        boards.keys().collect::<Vec<_>>(),
        ["dns", "drops", "itself", "overview", "policy", "tcp", "workload"]
    );
    let mut uids = HashSet::new();
    for (name, board) in &boards {
        assert!(uids.insert(board["uid"].as_str().expect("a uid")), "{name}");
        let mut ids = HashSet::new();
        let mut places = HashSet::new();
        for panel in panels(board) {
            assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{name}: {panel}");
            let at = &panel["gridPos"];
            assert!(places.insert((at["x"].as_u64(), at["y"].as_u64())), "{name}: {panel}");
            assert!(
                at["x"].as_u64().expect("x") + at["w"].as_u64().expect("w") <= 24,
                "{name}: {panel}"
            );
            if panel["type"] != "text" {
                let source = match panel["datasource"]["type"].as_str() {
                    Some("prometheus") => "${datasource}",
                    Some("influxdata-flightsql-datasource") => "${flightsql}",
                    other => panic!("{name}: {other:?}"),
                };
                assert_eq!(panel["datasource"]["uid"], source, "{name}");
                for target in panel["targets"].as_array().expect("targets") {
                    assert_eq!(target["datasource"], panel["datasource"], "{name}: {panel}");
                }
                assert!(
                    panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
                    "{name}: {panel}"
                );
            }
        }
        let all: String = expressions(board).map(|(_, expr)| expr).collect::<Vec<_>>().join("\n");
        let variables = board["templating"]["list"].as_array().expect("variables");
        let known: BTreeSet<&str> = variables
            .iter()
            .map(|each| each["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(known.contains("flightsql"), questions(board).count() > 0, "{name}");
        for variable in known.iter().filter(|name| !["datasource", "flightsql"].contains(name)) {
            assert!(all.contains(&format!("${variable}")), "{name}: nothing uses {variable}");
        }
        for used in all.split('$').skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let builtin = ["__rate_interval", "__range"].contains(&used.as_str());
            assert!(
                builtin || known.contains(used.as_str()),
                "{name}: there is no variable {used}"
            );
        }
    }
}

#[test]
fn dashboards_are_what_grafanas_schema_knows() {
    let python = match python::python("grafana-schema", &[SCHEMA]) {
        Ok(python) => python,
        Err(why) => return println!("skipped: no Python with {SCHEMA}: {why}"),
    };
    let files = fs::read_dir(folder().join("dashboards")).expect("a folder");
    let checked = Command::new(python)
        .arg(folder().join("check_schema.py"))
        .args(files.map(|file| file.expect("a file").path()))
        .output()
        .expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A process that ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0.id().cast_signed());
        let _ = kill(pid, Signal::SIGINT);
        let end = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The demo on a terminal, where it goes on until it is told to end, and the namespace of its node.
fn demo(history: &Path) -> (Process, String) {
    let pty = nix::pty::openpty(None, None).expect("a pseudo terminal");
    let child = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .arg("demo")
        .env("PARALLAX_OBSERVER_METRICS_LISTEN", METRICS)
        .env("PARALLAX_OBSERVER_HISTORY", history)
        .stdin(Stdio::null())
        .stdout(pty.slave)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut shown = fs::File::from(pty.master);
    std::thread::spawn(move || std::io::copy(&mut shown, &mut std::io::sink()));
    let netns = format!("plx{}-node", child.id());
    let process = Process(child);
    let end = Instant::now() + PATIENCE;
    while !Path::new("/run/netns").join(&netns).exists() {
        assert!(Instant::now() < end, "the demo doesn't start");
        std::thread::sleep(Duration::from_millis(50));
    }
    (process, netns)
}

fn inside(netns: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, program]);
    command
}

/// Series that Prometheus answers with.
fn ask(netns: &str, expr: &str) -> Result<usize, String> {
    let expr = expr
        .replace("$__rate_interval", "10s")
        .replace("$__range", "1m")
        .replace("$cluster", ".*")
        .replace("$node", ".*")
        .replace("$namespace", ".*")
        .replace("$workload", ".*");
    let mut promtool = inside(netns, "promtool");
    let answer = promtool
        .args(["query", "instant", "-o", "json", &format!("http://{PROMETHEUS}"), &expr])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let series: Value = serde_json::from_str(&text)
        .map_err(|_| format!("{expr}: {text}{}", String::from_utf8_lossy(&answer.stderr)))?;
    Ok(series.as_array().map_or(0, Vec::len))
}

/// Draws what the dashboards show, for people to look at.
fn draw(netns: &str, python: &Path, boards: usize) {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboards");
    let _ = fs::remove_dir_all(&pictures);
    let files = fs::read_dir(folder().join("dashboards")).expect("a folder");
    let drawn = inside(netns, &python.display().to_string())
        .arg(folder().join("render.py"))
        .args([&format!("http://{PROMETHEUS}"), "20"])
        .arg(&pictures)
        .args(files.map(|file| file.expect("a file").path()))
        .output()
        .expect("it runs");
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let drawn = fs::read_dir(&pictures).expect("a folder");
    let sizes: Vec<u64> = drawn
        .map(|file| file.expect("a file").metadata().expect("it is there").len())
        .collect();
    assert!(
        sizes.len() == boards && sizes.iter().all(|size| *size > 10_000),
        "{sizes:?}"
    );
    println!("pictures of what they show are in {}", pictures.display());
}

#[test]
fn every_expression_has_an_answer_in_the_demo() {
    if !geteuid().is_root() {
        println!("skipped: the demo needs root");
        return;
    }
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: there is no Prometheus (apt-get install prometheus)");
        return;
    }
    let rules = Command::new("promtool")
        .args(["check", "rules"])
        .arg(folder().join("alerts.yaml"))
        .output();
    let rules = rules.expect("it runs");
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));

    // It takes a while the first time; the demo shouldn't wait for it.
    let python = python::python("grafana", &[PLOTTING]);
    let place = tempfile::tempdir().expect("a folder");
    let config = place.path().join("prometheus.yaml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: parallax, static_configs: [{{targets: ['{METRICS}'], labels: {{cluster: demo}}}}]}}]\n"
    );
    fs::write(&config, scrape).expect("a file");
    let (_demo, netns) = demo(&place.path().join("history"));
    let prometheus = inside(&netns, "prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", place.path().join("data").display()))
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Process(prometheus.expect("it starts"));
    let end = Instant::now() + PATIENCE;
    while !ask(&netns, "parallax_flows_total").is_ok_and(|series| series > 0) {
        assert!(Instant::now() < end, "Prometheus doesn't reach the observer");
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(OBSERVED);

    let boards = dashboards();
    let mut asked = 0;
    let mut silent = Vec::new();
    let of_boards = boards.iter().flat_map(|(name, board)| {
        expressions(board).map(move |(title, expr)| (format!("{name}, {title}"), expr.to_owned()))
    });
    for (whose, expr) in of_boards.chain(alerts()) {
        asked += 1;
        match ask(&netns, &expr) {
            Ok(0) => match SILENT.iter().find(|(known, _)| *known == whose) {
                Some((_, why)) => println!("no answer here, as {why}: {whose}"),
                None => silent.push(format!("{whose}: {expr}")),
            },
            Ok(_) => {}
            Err(error) => panic!("{whose}: {error}"),
        }
    }
    for board in boards.values() {
        for variable in board["templating"]["list"].as_array().expect("variables") {
            let Some(query) = variable["query"]["query"].as_str() else {
                continue;
            };
            let (metric, _) = query
                .strip_prefix("label_values(")
                .and_then(|query| query.rsplit_once(", "))
                .expect("a query");
            assert!(ask(&netns, metric).is_ok_and(|series| series > 0), "{query}");
        }
    }
    println!("{asked} expressions of dashboards and alerts were asked");
    match &python {
        Ok(python) => draw(&netns, python, boards.len()),
        Err(why) => println!("skipped: no pictures without {PLOTTING}: {why}"),
    }
    assert!(silent.is_empty(), "no answer:\n{}", silent.join("\n"));
    assert!(asked > 50);
}
