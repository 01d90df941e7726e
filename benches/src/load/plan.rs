//! The order of work: every way in every round, in turn, so that what disturbs one disturbs all.

use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Runtime;

use super::arguments::{Arguments, Step, Way};
use super::counting::CountingPrograms;
use super::idle::{self, Idle};
use super::interrupt::Interrupt;
use super::kernel::{self, ProgramCost, Statistics, costs};
use super::latency::{self, Latency};
use super::machine::Machine;
use super::observer::{Accounting, RunningObserver};
use super::soak::{self, Soak};
use super::traffic::{Traffic, Workload};
use crate::namespace::Pair;

/// A run of traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficRun {
    /// Which traffic.
    pub workload: Workload,
    /// In which round, from 1.
    pub round: u64,
    /// With the observer run in this way; `None` without it.
    pub way: Option<String>,
    /// What came of it.
    pub traffic: Traffic,
    /// What the observer took.
    pub observer: Option<ObserverCost>,
}

/// What the observer took and did in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObserverCost {
    /// Events a second that it received from the kernel, one by one or in totals.
    pub events_per_second: f64,
    /// Cores it used while there was traffic.
    pub cpu_cores: f64,
    /// CPU time, until everything was in the log.
    pub cpu_seconds: f64,
    /// The same for each event.
    pub cpu_ns_per_event: f64,
    /// Memory in RAM.
    pub rss_bytes: u64,
    /// The most there ever was.
    pub peak_rss_bytes: u64,
    /// What a flow takes in the log.
    pub bytes_per_flow: f64,
    /// Whether all that was seen was delivered or counted otherwise.
    pub sums_hold: bool,
    /// What it counted.
    pub accounting: Accounting,
}

/// What the eBPF programs took in a run of its own, since measuring them takes time too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelRun {
    /// Which traffic.
    pub workload: Workload,
    /// In which round, from 1.
    pub round: u64,
    /// With the observer run in this way; `None` for programs that only count.
    pub way: Option<String>,
    /// What they took.
    pub programs: Vec<ProgramCost>,
}

/// A result of something else, for each way and round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run<T> {
    /// In which round, from 1.
    pub round: u64,
    /// How the observer was run.
    pub way: String,
    /// What came of it.
    pub result: T,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// What was measured: version and commit.
    pub observer: String,
    /// The ways to run it.
    pub ways: Vec<Way>,
    /// Seconds of traffic in a run.
    pub seconds: u64,
    /// How often.
    pub rounds: u64,
    /// Runs of traffic.
    pub traffic: Vec<TrafficRun>,
    /// The same traffic, for the eBPF programs.
    pub kernel: Vec<KernelRun>,
    /// From the wire to the screen.
    pub latency: Vec<Run<Latency>>,
    /// Without traffic.
    pub idle: Vec<Run<Idle>>,
    /// Long floods.
    pub soak: Vec<Run<Soak>>,
}

/// Does the work.
pub struct Plan<'a> {
    runtime: &'a Runtime,
    interrupt: &'a Interrupt,
    time: Duration,
    results: Results,
}

impl<'a> Plan<'a> {
    /// Measures what was asked for.
    ///
    /// # Errors
    /// Whatever fails first; what was made is removed.
    pub fn run(arguments: &Arguments, runtime: &'a Runtime, interrupt: &'a Interrupt) -> anyhow::Result<Results> {
        let mut plan = Self {
            runtime,
            interrupt,
            time: Duration::from_secs(arguments.soak.unwrap_or(arguments.seconds)),
            results: Results {
                machine: Machine::this(),
                observer: String::new(),
                ways: arguments.ways()?,
                seconds: arguments.soak.unwrap_or(arguments.seconds),
                rounds: if arguments.soak.is_some() { 1 } else { arguments.rounds },
                traffic: Vec::new(),
                kernel: Vec::new(),
                latency: Vec::new(),
                idle: Vec::new(),
                soak: Vec::new(),
            },
        };
        let ways = plan.results.ways.clone();
        if arguments.soak.is_some() {
            for way in &ways {
                plan.soak(way)?;
            }
            return Ok(plan.results);
        }
        for step in arguments.steps() {
            for round in 1..=plan.results.rounds {
                match (step, step.workload()) {
                    (_, Some(workload)) => plan.traffic(workload, round, &ways)?,
                    (Step::Latency, None) => plan.latency(round, &ways)?,
                    (_, None) => plan.idle(round, &ways)?,
                }
            }
        }
        Ok(plan.results)
    }

    fn traffic(&mut self, workload: Workload, round: u64, ways: &[Way]) -> anyhow::Result<()> {
        self.says(workload.title(), round, "without the observer");
        let traffic = workload.run(&Pair::new()?, self.time, self.interrupt)?;
        let plain = traffic.throughput();
        self.results.traffic.push(TrafficRun {
            workload,
            round,
            way: None,
            traffic,
            observer: None,
        });
        for way in ways {
            self.says(workload.title(), round, &way.name);
            let run = self.observed(workload, round, way)?;
            let with = run.traffic.throughput();
            eprintln!("  {:.1} % of the throughput", with * 100.0 / plain);
            self.results.traffic.push(run);
        }
        self.kernel(workload, round, ways)
    }

    fn observed(&mut self, workload: Workload, round: u64, way: &Way) -> anyhow::Result<TrafficRun> {
        let pair = Pair::new()?;
        let mut observer = self.start(&pair, way)?;
        let process = observer.process();
        let before = process.cpu_time()?;
        let traffic = workload.run(&pair, self.time, self.interrupt)?;
        let during = process.cpu_time()?;
        let accounting = observer.settled(self.interrupt)?;
        let (after, resident) = (process.cpu_time()?, process.resident()?);
        observer.stop()?;
        let cpu = after - before;
        let cost = ObserverCost {
            events_per_second: accounting.arrived() as f64 / traffic.seconds,
            cpu_cores: (during - before).as_secs_f64() / traffic.seconds,
            cpu_seconds: cpu.as_secs_f64(),
            cpu_ns_per_event: cpu.as_nanos() as f64 / accounting.arrived().max(1) as f64,
            rss_bytes: resident.now_bytes,
            peak_rss_bytes: resident.peak_bytes,
            bytes_per_flow: accounting.bytes_per_flow(),
            sums_hold: accounting.unaccounted == 0,
            accounting,
        };
        Ok(TrafficRun {
            workload,
            round,
            way: Some(way.name.clone()),
            traffic,
            observer: Some(cost),
        })
    }

    fn kernel(&mut self, workload: Workload, round: u64, ways: &[Way]) -> anyhow::Result<()> {
        let _statistics = Statistics::on()?;
        self.says(workload.title(), round, "the kernel's cost, programs that only count");
        let programs = self.counting_only(workload)?;
        self.results.kernel.push(KernelRun {
            workload,
            round,
            way: None,
            programs,
        });
        for way in ways {
            self.says(workload.title(), round, &format!("the kernel's cost, {}", way.name));
            let programs = self.cost(workload, way)?;
            self.results.kernel.push(KernelRun {
                workload,
                round,
                way: Some(way.name.clone()),
                programs,
            });
        }
        Ok(())
    }

    fn counting_only(&self, workload: Workload) -> anyhow::Result<Vec<ProgramCost>> {
        let pair = Pair::new()?;
        let counting = CountingPrograms::attach(&pair)?;
        let traffic = workload.run(&pair, self.time, self.interrupt);
        let programs = counting.detach()?;
        traffic.map(|_| programs)
    }

    fn cost(&mut self, workload: Workload, way: &Way) -> anyhow::Result<Vec<ProgramCost>> {
        let pair = Pair::new()?;
        let observer = self.start(&pair, way)?;
        let before = costs(observer.process())?;
        workload.run(&pair, self.time, self.interrupt)?;
        let programs = kernel::since(&before, costs(observer.process())?);
        observer.stop()?;
        Ok(programs)
    }

    fn latency(&mut self, round: u64, ways: &[Way]) -> anyhow::Result<()> {
        for way in ways {
            self.says("From the wire to the screen", round, &way.name);
            let pair = Pair::new()?;
            let observer = self.start(&pair, way)?;
            let result = latency::measure(&pair, &observer, self.interrupt)?;
            observer.stop()?;
            let way = way.name.clone();
            self.results.latency.push(Run { round, way, result });
        }
        Ok(())
    }

    fn idle(&mut self, round: u64, ways: &[Way]) -> anyhow::Result<()> {
        for way in ways {
            self.says("Without traffic", round, &way.name);
            let pair = Pair::new()?;
            let observer = self.start(&pair, way)?;
            let result = idle::measure(&observer, self.time * 4, self.interrupt)?;
            observer.stop()?;
            let way = way.name.clone();
            self.results.idle.push(Run { round, way, result });
        }
        Ok(())
    }

    fn soak(&mut self, way: &Way) -> anyhow::Result<()> {
        self.says("Long flood", 1, &way.name);
        let pair = Pair::new()?;
        let mut observer = self.start(&pair, way)?;
        let result = soak::measure(&pair, &mut observer, self.time, self.interrupt)?;
        observer.stop()?;
        let way = way.name.clone();
        self.results.soak.push(Run { round: 1, way, result });
        Ok(())
    }

    fn start(&mut self, pair: &Pair, way: &Way) -> anyhow::Result<RunningObserver<'a>> {
        let observer = RunningObserver::start(pair, &way.arguments, self.runtime, self.interrupt)?;
        self.results.observer.clone_from(&observer.version);
        Ok(observer)
    }

    fn says(&self, what: &str, round: u64, way: &str) {
        eprintln!("{what}, round {round} of {}: {way}", self.results.rounds);
    }
}
