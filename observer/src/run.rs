//! An observer from start to end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use flow::endpoint::Node;
use parking_lot::{Mutex, RwLock};
use serving::servers::ended;
use serving::signal::told_to_end;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attach::{Attacher, Hook};
use crate::btf::Btf;
use crate::capture::Capture;
use crate::config::{MetricsSettings, Settings, version};
use crate::flow_logs::{AllCounts, FlowLogs};
use crate::heap;
use crate::history::{History, Run};
use crate::interface::{Interfaces, Selection};
use crate::kernel_names::{NoKernel, RunningKernel};
use crate::log::FlowLog;
use crate::metrics::flows::FlowMeter;
use crate::metrics::otlp::{Collector, Signal};
use crate::metrics::{Metrics, Page, resource};
use crate::names::{Names, file};
use crate::netns;
use crate::otlp_logs::{LogCounts, OtlpLogs};
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::probes::{Probes, ProbesOptions};
use crate::replay::{self, Format, run::replay};
use crate::requirements;
use crate::serve::{NodeState, ObserverServers};

/// Observes and serves until a signal says to end.
///
/// # Errors
/// Whatever keeps it from starting, and what is wrong with a file to replay.
pub async fn run(settings: Settings) -> Result<()> {
    let started = Instant::now();
    let names = Arc::new(Names::default());
    let _watched = match &settings.endpoints {
        Some(path) => Some(file::watch(path, Arc::clone(&names))?),
        None => None,
    };
    let log_id = uuid::Uuid::new_v4().as_u64_pair().0;
    let budget = usize::try_from(settings.memory.as_u64()).context("--memory is more than this machine can address")?;
    let log = Arc::new(FlowLog::new(log_id, budget));
    let name = match &settings.node_name {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()
            .context("cannot read the host's name; give --node-name")?
            .to_string_lossy()
            .into_owned(),
    };
    let interfaces = Arc::new(Interfaces::default());
    let silence = settings.silence.wait().filter(|_| !settings.capture.is_directed());
    if silence != settings.silence.wait() {
        tracing::info!("requests without an answer aren't reported, since --capture may leave out the answers");
    }
    let options = |kernel_names, netns_cookie| PipelineOptions {
        log_id,
        node: Node {
            name: name.clone(),
            labels: String::new(),
        },
        connections: settings.connections,
        names: Arc::clone(&names),
        kernel_names,
        netns_cookie,
        silence,
        http: settings.http.are_read(),
    };
    let history = match &settings.history {
        Some(place) => {
            let run = Run {
                node: name.clone(),
                version: version().to_owned(),
                retention: ::history::upkeep::Retention {
                    bytes: Some(settings.history_size.as_u64()),
                    age: settings.history_age,
                },
            };
            Some(History::start(place, run, Arc::clone(&log)).await?)
        }
        None => None,
    };
    let progress = history.as_ref().map(History::progress);
    let flow_logs = match &settings.flow_logs {
        Some(path) => Some(FlowLogs::start(path.clone(), name.clone(), Arc::clone(&log))?),
        None => None,
    };
    let otlp_logs = send_logs(&settings.metrics, &name, &log)?;
    let collector = settings.metrics.collector(Signal::Metrics)?;
    let page = match settings.metrics.metrics_listen {
        Some(address) => Some(Page::bind(address).await?),
        None => None,
    };
    let exports = match (page, collector) {
        (None, None) => None,
        (page, collector) => Some(Exports {
            page,
            collector,
            flow_logs: flow_logs.as_ref().map(FlowLogs::counts),
            otlp_logs: otlp_logs.as_ref().map(OtlpLogs::counts),
            flows: settings.metrics.flow_meter(&log)?,
        }),
    };
    let overflows = exports.as_ref().map(|exports| exports.flows.overflows());
    let node = |mode, counters| {
        Arc::new(NodeState {
            history: progress.clone(),
            overflows: overflows.clone(),
            sql: settings.sql_limits(),
            name: name.clone(),
            version: format!("parallax {}", version()),
            mode,
            started,
            log: Arc::clone(&log),
            counters,
            interfaces: Arc::clone(&interfaces),
            capture_filter: settings.capture.to_string(),
        })
    };
    let (stop, shutdown) = watch::channel(false);
    let signalled = told_to_end().context("cannot wait for signals")?;
    tokio::spawn(async move {
        signalled.await;
        // Nobody listens any more if serving has ended by itself.
        let _ = stop.send(true);
    });

    if let Some(path) = &settings.replay {
        if replay::format_of(path)? == Format::Flows && !settings.capture.is_empty() {
            anyhow::bail!(
                "--capture is about packets, and {} has flows; filter these with the flags of parallax observe",
                path.display()
            );
        }
        let servers = ObserverServers::bind(&settings.listen, settings.protection()?).await?;
        let counters = Arc::new(RwLock::default());
        let pipeline = Pipeline::new(options(Box::new(NoKernel), 0));
        let (file, target, counted) = (path.clone(), Arc::clone(&log), Arc::clone(&counters));
        let capture = *settings.capture.compiled();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = replay(&file, &capture, pipeline, &target, &counted) {
                tracing::error!("{error}");
            }
        });
        tracing::info!(addresses = ?servers.addresses(), "serving a replay");
        let node = node(format!("replay {}", path.display()), counters);
        let _metrics = serve_metrics(exports, &node, &shutdown)?;
        let served = servers.run(node, shutdown).await;
        drop((flow_logs, otlp_logs));
        if let Some(history) = history {
            history.stop().await;
        }
        return Ok(served?);
    }

    let missing = requirements::missing();
    if !missing.is_empty() {
        let reasons: Vec<String> = missing.iter().map(ToString::to_string).collect();
        anyhow::bail!("this machine can't be observed: {}", reasons.join("\n  and "));
    }
    let selection = if settings.drops_only {
        Selection::nothing()
    } else {
        Selection::new(&settings.interface)?
    };
    let btf = Btf::from_kernel()?;
    let servers = ObserverServers::bind(&settings.listen, settings.protection()?).await?;
    let ring_bytes = usize::try_from(settings.ring_size.as_u64()).context("--ring-size is too large")?;
    let (mut probes, rings) = Probes::load(
        &btf,
        ProbesOptions {
            ring_bytes,
            ring: settings.ring,
            capture: *settings.capture.compiled(),
            aggregation: settings.aggregation,
            aggregation_flows: settings.aggregation_flows,
            http: settings.http.are_read(),
            ..ProbesOptions::default()
        },
    )?;
    probes.attach_drops()?;
    if !settings.drops_only {
        probes.attach_tcp()?;
    }
    let states = probes.states();
    let missed = probes.missed_runs()?;
    let aggregates = probes.take_aggregates();
    let probes = Arc::new(Mutex::new(probes));
    let attacher = Attacher::start(
        Arc::clone(&probes),
        selection,
        Hook::of_kernel(),
        Arc::clone(&interfaces),
    )
    .await?;
    let following = tokio::spawn(attacher.run());
    let cookie = netns::cookie().unwrap_or_else(|error| {
        tracing::warn!("cannot tell this network namespace from others: {error}");
        0
    });
    let kernel_names = Box::new(RunningKernel::new(btf.drop_reasons()?, btf.reset_reasons()));
    drop(btf);
    let mut pipeline = Pipeline::new(options(kernel_names, cookie));
    pipeline.set_aggregates(aggregates);
    heap::give_back();
    let capture = Capture::start(
        rings,
        states,
        missed,
        Arc::clone(&interfaces),
        pipeline,
        Arc::clone(&log),
    )
    .context("cannot start the capture")?;
    tracing::info!(addresses = ?servers.addresses(), interfaces = interfaces.watched().len(), "observing");
    let mode = if settings.drops_only {
        "kernel, drops only"
    } else {
        "kernel"
    };
    let node = node(mode.to_owned(), capture.counters());
    let metrics = serve_metrics(exports, &node, &shutdown)?;
    let served = servers.run(node, shutdown).await;
    drop(metrics);
    following.abort();
    // Its end is what it was told to come to; with it goes the last but one owner of the programs.
    let _ = following.await;
    drop(probes);
    capture.stop();
    drop((flow_logs, otlp_logs));
    if let Some(history) = history {
        history.stop().await;
    }
    tracing::info!("ended");
    Ok(served?)
}

/// Sends flows as log records, if they are wanted, until what it returns is dropped.
fn send_logs(settings: &MetricsSettings, node: &str, log: &Arc<FlowLog>) -> Result<Option<OtlpLogs>> {
    let Some(filters) = settings.otlp_logs.filters()? else {
        return Ok(None);
    };
    let collector = settings.collector(Signal::Logs)?;
    let collector = collector.context("--otlp-logs: there is no collector; name one with --otlp-endpoint")?;
    let resource = resource(version(), node, log.id());
    tracing::info!(%collector, flows = %settings.otlp_logs, "sending log records");
    let (rate, log) = (settings.otlp_logs_rate, Arc::clone(log));
    Ok(Some(OtlpLogs::start(&collector, &resource, filters, rate, log)?))
}

/// Who gets metrics.
struct Exports {
    page: Option<Page>,
    collector: Option<Collector>,
    flow_logs: Option<AllCounts>,
    otlp_logs: Option<Arc<LogCounts>>,
    flows: FlowMeter,
}

/// Serves and sends metrics until it ends, or until what it returns is dropped.
fn serve_metrics(
    exports: Option<Exports>,
    node: &Arc<NodeState>,
    shutdown: &watch::Receiver<bool>,
) -> Result<JoinSet<()>> {
    let mut server = JoinSet::new();
    let Some(Exports {
        page,
        collector,
        flow_logs,
        otlp_logs,
        flows,
    }) = exports
    else {
        return Ok(server);
    };
    let metrics = Metrics::new(node, Some(flows), collector.as_ref())?;
    if let Some(counts) = flow_logs {
        metrics.add_flow_logs(&counts);
    }
    if let Some(counts) = otlp_logs {
        metrics.add_logs(&counts);
    }
    if let Some(collector) = collector {
        tracing::info!(%collector, "sending metrics");
    }
    let mut shutdown = shutdown.clone();
    server.spawn(async move {
        let Some(page) = page else {
            ended(&mut shutdown).await;
            return drop(metrics);
        };
        tracing::info!(address = %page.address(), "serving metrics");
        if let Err(error) = page.serve(metrics, shutdown).await {
            tracing::error!("metrics are not served any more: {error}");
        }
    });
    Ok(server)
}
