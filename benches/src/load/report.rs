//! The table for people and the file for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::figure::{Figure, Goal, Unit};
use super::kernel::packet_ns;
use super::percentile::Spread;
use super::plan::{KernelRun, ObserverCost, Results, TrafficRun};
use super::traffic::Workload;

/// Share of the throughput that a flood and a bulk stream keep.
const THROUGHPUT: Goal = Goal::AtLeast(93.0);
/// What a packet costs in the kernel.
const PACKET_NS: Goal = Goal::AtMost(160.0);
/// The same on any machine: 160 ns, where programs that only count take 37.
const TIMES_COUNTING: Goal = Goal::AtMost(4.3);
const FLOW_BYTES: Goal = Goal::AtMost(128.0);
const NOTHING: Goal = Goal::AtMost(0.0);
const SCREEN_MS: Goal = Goal::AtMost(50.0);
const IDLE_PERCENT: Goal = Goal::AtMost(1.0);
const IDLE_BYTES: Goal = Goal::AtMost((64 << 20) as f64);
/// Programs that have run less often say little.
const MIN_RUNS: u64 = 100;

/// All figures, in the order of the table.
#[must_use]
pub fn figures(results: &Results) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in Workload::ALL {
        if results.traffic.iter().any(|run| run.workload == workload) {
            traffic(&mut figures, results, workload);
            kernel(&mut figures, results, workload);
        }
    }
    let mut section = |section, name: &str, unit, goal, values: Vec<Vec<f64>>| {
        if values.iter().any(|values| !values.is_empty()) {
            let name = name.to_owned();
            figures.push(Figure {
                section,
                name,
                unit,
                goal,
                values,
            });
        }
    };
    let screen = "From the wire to the screen";
    let ms = |what: fn(&Spread) -> f64| each(results, &results.latency, |result| what(&result.times) / 1e3);
    section(
        screen,
        "half of the packets",
        Unit::Milliseconds,
        None,
        ms(|times| times.p50_us),
    );
    section(
        screen,
        "90 % of them",
        Unit::Milliseconds,
        None,
        ms(|times| times.p90_us),
    );
    section(
        screen,
        "99 % of them",
        Unit::Milliseconds,
        Some(SCREEN_MS),
        ms(|times| times.p99_us),
    );
    section(
        screen,
        "all of them",
        Unit::Milliseconds,
        None,
        ms(|times| times.max_us),
    );
    let idle = "Without traffic";
    let percent = each(results, &results.idle, |result| result.cpu_cores * 100.0);
    section(
        idle,
        "CPU, share of one core",
        Unit::Percent,
        Some(IDLE_PERCENT),
        percent,
    );
    let rss = each(results, &results.idle, |result| result.rss_bytes as f64);
    section(idle, "memory (RSS)", Unit::Bytes, Some(IDLE_BYTES), rss);
    let soak = "Long flood";
    let runs = &results.soak;
    let budget = runs
        .first()
        .map(|run| Goal::AtMost(run.result.accounting.log_budget_bytes as f64));
    let seconds = each(results, runs, |result| result.traffic.seconds);
    section(soak, "seconds", Unit::Count, None, seconds);
    let events = each(results, runs, |result| result.accounting.arrived() as f64);
    section(soak, "events", Unit::Count, None, events);
    let lost = each(results, runs, |result| result.accounting.lost() as f64);
    section(soak, "events lost, and reported", Unit::Count, None, lost);
    let unaccounted = each(results, runs, |result| result.accounting.unaccounted as f64);
    section(soak, "events unaccounted for", Unit::Count, Some(NOTHING), unaccounted);
    let log = each(results, runs, |result| result.largest_log_bytes() as f64);
    section(soak, "largest log", Unit::Bytes, budget, log);
    let peak = each(results, runs, |result| result.peak_rss_bytes as f64);
    section(soak, "largest memory (RSS)", Unit::Bytes, None, peak);
    figures
}

/// A value for each way and round.
fn each<T>(results: &Results, runs: &[super::plan::Run<T>], value: impl Fn(&T) -> f64) -> Vec<Vec<f64>> {
    let of_way = |name: &str| {
        let runs = runs.iter().filter(|run| run.way == name);
        runs.map(|run| value(&run.result)).collect()
    };
    columns(results, |way| way.map(of_way).unwrap_or_default())
}

/// A column without the observer, and one for each way.
fn columns(results: &Results, values: impl Fn(Option<&str>) -> Vec<f64>) -> Vec<Vec<f64>> {
    std::iter::once(None)
        .chain(results.ways.iter().map(|way| Some(way.name.as_str())))
        .map(values)
        .collect()
}

fn traffic(figures: &mut Vec<Figure>, results: &Results, workload: Workload) {
    let runs = |way: Option<&str>| -> Vec<&TrafficRun> {
        let runs = results.traffic.iter();
        runs.filter(|run| run.workload == workload && run.way.as_deref() == way)
            .collect()
    };
    let of_traffic = |value: &dyn Fn(&TrafficRun) -> Option<f64>| {
        columns(results, |way| runs(way).into_iter().filter_map(value).collect())
    };
    let of_observer = |value: fn(&ObserverCost) -> f64| of_traffic(&|run| run.observer.as_ref().map(value));
    let mut add = |name: &str, unit, goal, values: Vec<Vec<f64>>| {
        if values.iter().any(|values| !values.is_empty()) {
            let (section, name) = (workload.title(), name.to_owned());
            figures.push(Figure {
                section,
                name,
                unit,
                goal,
                values,
            });
        }
    };
    let unit = match workload {
        Workload::TcpBulk => Unit::BytesPerSecond,
        _ => Unit::PerSecond,
    };
    let name = format!("{} a second", workload.counts());
    add(&name, unit, None, of_traffic(&|run| Some(run.traffic.throughput())));
    let plain = runs(None);
    let kept = of_traffic(&|run| {
        run.observer.as_ref()?;
        let plain = plain.iter().find(|plain| plain.round == run.round)?;
        Some(run.traffic.throughput() * 100.0 / plain.traffic.throughput())
    });
    let work = |run: &TrafficRun| {
        let observer = run.observer.as_ref().map_or(0.0, |cost| cost.cpu_seconds);
        run.traffic.received as f64 / (run.traffic.cpu_seconds + observer)
    };
    let kept_of_cpu = of_traffic(&|run| {
        run.observer.as_ref()?;
        let plain = plain.iter().find(|plain| plain.round == run.round)?;
        Some(work(run) * 100.0 / work(plain))
    });
    let goal = matches!(workload, Workload::UdpFlood | Workload::TcpBulk).then_some(THROUGHPUT);
    add("kept with the observer", Unit::Percent, goal, kept);
    add("kept, for the same CPU time", Unit::Percent, None, kept_of_cpu);
    let time = |value: fn(&Spread) -> f64| of_traffic(&|run| Some(value(run.traffic.times.as_ref()?) / 1e3));
    add(
        "until the answer, half of them",
        Unit::Milliseconds,
        None,
        time(|times| times.p50_us),
    );
    add(
        "until the answer, 99 % of them",
        Unit::Milliseconds,
        None,
        time(|times| times.p99_us),
    );
    add(
        "events a second",
        Unit::PerSecond,
        None,
        of_observer(|cost| cost.events_per_second),
    );
    let in_totals = of_observer(|cost| cost.accounting.aggregated as f64 * 100.0 / cost.accounting.arrived() as f64);
    if in_totals.iter().flatten().any(|percent| *percent > 0.0) {
        add("of these, in totals of connections", Unit::Percent, None, in_totals);
    }
    let lost = of_observer(|cost| cost.accounting.lost() as f64);
    add("events lost, and reported", Unit::Count, None, lost);
    let unaccounted = of_observer(|cost| cost.accounting.unaccounted as f64);
    add("events unaccounted for", Unit::Count, Some(NOTHING), unaccounted);
    add(
        "CPU of the observer, cores",
        Unit::Cores,
        None,
        of_observer(|cost| cost.cpu_cores),
    );
    add(
        "CPU of the observer, an event",
        Unit::Nanoseconds,
        None,
        of_observer(|cost| cost.cpu_ns_per_event),
    );
    let peak = of_observer(|cost| cost.peak_rss_bytes as f64);
    add("largest memory (RSS)", Unit::Bytes, None, peak);
    add(
        "memory of a flow",
        Unit::Bytes,
        Some(FLOW_BYTES),
        of_observer(|cost| cost.bytes_per_flow),
    );
}

fn kernel(figures: &mut Vec<Figure>, results: &Results, workload: Workload) {
    let runs = |way: Option<&str>| -> Vec<&KernelRun> {
        let runs = results.kernel.iter();
        runs.filter(|run| run.workload == workload && run.way.as_deref() == way)
            .collect()
    };
    let of_runs = |value: &dyn Fn(&KernelRun) -> Option<f64>| {
        columns(results, |way| runs(way).into_iter().filter_map(value).collect())
    };
    let mut add = |name: String, unit, goal, values| {
        let section = workload.title();
        figures.push(Figure {
            section,
            name,
            unit,
            goal,
            values,
        });
    };
    let is_goal = workload == Workload::UdpFlood;
    let packet = of_runs(&|run| packet_ns(&run.programs));
    add(
        "in the kernel, a packet".to_owned(),
        Unit::Nanoseconds,
        is_goal.then_some(PACKET_NS),
        packet,
    );
    let counting = runs(None);
    let times = of_runs(&|run| {
        run.way.as_ref()?;
        let counting = counting.iter().find(|counting| counting.round == run.round)?;
        Some(packet_ns(&run.programs)? / packet_ns(&counting.programs)?)
    });
    let goal = is_goal.then_some(TIMES_COUNTING);
    add("times programs that only count".to_owned(), Unit::Times, goal, times);
    let mut names: Vec<&str> = results
        .kernel
        .iter()
        .filter(|run| run.workload == workload && run.way.is_some())
        .flat_map(|run| &run.programs)
        .filter(|cost| cost.runs >= MIN_RUNS)
        .map(|cost| cost.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let values = of_runs(&|run| {
            let cost = run
                .programs
                .iter()
                .find(|cost| cost.name == name && cost.runs >= MIN_RUNS)?;
            Some(cost.run_time_ns as f64 / cost.runs as f64)
        });
        add(format!("  program {name}"), Unit::Nanoseconds, None, values);
    }
}

/// The table. Its columns are padded by `tabwriter`, as in the tables of `parallax`: there is nothing to draw.
#[must_use]
pub fn table(results: &Results) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut header = vec!["FIGURE".to_owned(), "GOAL".to_owned(), "WITHOUT".to_owned()];
    header.extend(results.ways.iter().map(|way| format!("WITH: {}", way.name)));
    let columns = header.len();
    rows.push(header);
    let mut section = "";
    for figure in figures(results) {
        if figure.section != section {
            section = figure.section;
            rows.push(vec![String::new(); columns]);
            let mut row = vec![section.to_owned()];
            row.resize(columns, String::new());
            rows.push(row);
        }
        let mut row = vec![format!("  {}", figure.name), figure.goal_text()];
        row.extend((0..=results.ways.len()).map(|column| figure.value_text(column)));
        rows.push(row);
    }
    let mut writer = tabwriter::TabWriter::new(Vec::new()).padding(3);
    for row in rows {
        // Writing to a Vec cannot fail.
        let _ = writeln!(writer, "{}", row.join("\t"));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n\n" + &footer(results)
}

fn footer(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "{} round{} of {} s. {}, {} cores, Linux {}, {}{}.\n{}.\n",
        results.rounds,
        if results.rounds == 1 { "" } else { "s" },
        results.seconds,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.rustc,
        if machine.release { "" } else { ", a debug build" },
        results.observer,
    );
    if machine.load_before > 0.5 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Noisy: {:.1} processes wanted to run before this was started.",
            machine.load_before
        );
    }
    text
}

/// What the file holds: the figures, and all that they are made of.
#[derive(Serialize)]
struct File<'a> {
    figures: Vec<FileFigure>,
    #[serde(flatten)]
    results: &'a Results,
}

#[derive(Serialize)]
struct FileFigure {
    #[serde(flatten)]
    figure: Figure,
    /// Whether every value meets the goal.
    met: Option<bool>,
}

/// The file.
///
/// # Errors
/// If a value can't be written as JSON.
pub fn json(results: &Results) -> serde_json::Result<String> {
    let figures = figures(results)
        .into_iter()
        .map(|figure| FileFigure {
            met: figure.is_met(),
            figure,
        })
        .collect();
    serde_json::to_string_pretty(&File { figures, results }).map(|text| text + "\n")
}

#[cfg(test)]
mod tests;
