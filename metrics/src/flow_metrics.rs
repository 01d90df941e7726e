//! All metrics that are on, and what they have counted.

use std::sync::Arc;
use std::time::Duration;

use flow::batch::FlowBatch;

use crate::config::MetricConfig;
use crate::context::{Contexts, Pairs};
use crate::exemplar::Exemplar;
use crate::metric::{self, Metric};
use crate::rows::Rows;
use crate::series::{Family, FamilyInfo};
use crate::tally::Value;

/// How much metrics may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of each family.
    pub series: usize,
    /// Series that nothing is added to for so long are forgotten.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 10_000,
            idle: Duration::from_secs(600),
        }
    }
}

/// A time that belongs into a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The histogram.
    pub family: FamilyInfo,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, Arc<str>)>,
    /// The time.
    pub seconds: f64,
}

/// Metrics of flows.
pub struct FlowMetrics {
    active: Vec<Active>,
    limits: Limits,
}

struct Active {
    config: MetricConfig,
    metric: Box<dyn Metric>,
    families: Vec<Family>,
}

impl Active {
    fn new(config: &MetricConfig, limits: Limits) -> Self {
        let metric = metric::of(config);
        let context = config.context.labels();
        let families = metric.families().iter();
        Self {
            families: families
                .map(|info| Family::new(*info, &context, limits.series))
                .collect(),
            config: config.clone(),
            metric,
        }
    }
}

impl std::fmt::Debug for FlowMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let families = self.families().map(|family| (family.info().name, family.len()));
        formatter.debug_map().entries(families).finish()
    }
}

impl FlowMetrics {
    /// These metrics, with nothing counted.
    #[must_use]
    pub fn new(configs: &[MetricConfig], limits: Limits) -> Self {
        Self {
            active: configs.iter().map(|config| Active::new(config, limits)).collect(),
            limits,
        }
    }

    /// Other metrics from now on. Those that stay, with the same labels, go on counting; of what has changed, series begin
    /// anew.
    pub fn reconfigure(&mut self, configs: &[MetricConfig]) {
        let mut before = std::mem::take(&mut self.active);
        for config in configs {
            let same = before.iter().position(|active| active.config.has_series_of(config));
            self.active.push(match same {
                Some(place) => Active {
                    config: config.clone(),
                    ..before.swap_remove(place)
                },
                None => Active::new(config, self.limits),
            });
        }
    }

    /// Counts the rows of a batch, at that time in seconds. What belongs into histograms is returned.
    pub fn observe(&mut self, batch: &FlowBatch, now_s: u64) -> Vec<Timed> {
        let rows = Rows::new(batch);
        let (mut by_ends, mut by_addresses) = (None, None);
        let mut known: Vec<Contexts> = Vec::new();
        let mut times = Vec::new();
        for Active {
            config,
            metric,
            families,
        } in &mut self.active
        {
            let (context, swapped) = (&config.context, metric.swaps_ends());
            let place = known.iter().position(|known| known.are_of(context, swapped));
            let place = place.unwrap_or_else(|| {
                known.push(Contexts::new(context, swapped));
                known.len() - 1
            });
            let contexts = &mut known[place];
            let pairs = match (context.is_empty(), context.needs_addresses()) {
                (true, _) => None,
                (false, true) => Some(&*by_addresses.get_or_insert_with(|| Pairs::new(&rows, true))),
                (false, false) => Some(&*by_ends.get_or_insert_with(|| Pairs::new(&rows, false))),
            };
            let wanted = config.filters.as_ref().map(|filters| filters.matches(batch));
            let tally = metric::count(metric.as_ref(), &rows, wanted.as_ref(), pairs);
            let exemplar = |row, value| {
                let trace = batch.trace(row)?;
                let time_ns = batch.time_ns(row);
                Some(Exemplar { trace, value, time_ns })
            };
            for ((family, context, key), sum) in tally.sums {
                let traced = tally.exemplars.get(&(family, context, key));
                let exemplar = traced.and_then(|(row, added)| exemplar(*row, *added as f64));
                let series = &mut families[usize::from(family)];
                let mut own = Vec::new();
                metric.labels(&rows, family, key, &mut own);
                let of_pair = contexts.labels(&rows, pairs, context);
                for own in metric.spread(family, own) {
                    let labels = own.into_iter().map(Arc::from);
                    let labels = labels.chain(of_pair.iter().cloned());
                    let labels: Vec<Arc<str>> = labels.collect();
                    let example = exemplar.map(|exemplar| (labels.clone(), exemplar));
                    series.add(labels, sum, now_s);
                    if let Some((labels, exemplar)) = example {
                        series.exemplify(labels, exemplar, now_s);
                    }
                }
            }
            for Value { key, value, traced } in tally.values {
                let (family, context, key) = key;
                let mut own = Vec::new();
                metric.labels(&rows, family, key, &mut own);
                let of_pair = contexts.labels(&rows, pairs, context);
                let values = own.into_iter().map(Arc::from);
                let values: Vec<Arc<str>> = values.chain(of_pair.iter().cloned()).collect();
                let family = &mut families[usize::from(family)];
                if let Some(exemplar) = traced.and_then(|row| exemplar(row, value)) {
                    family.exemplify(values.clone(), exemplar, now_s);
                }
                times.push(Timed {
                    family: family.info(),
                    labels: family.labels().iter().copied().zip(values).collect(),
                    seconds: value,
                });
            }
        }
        times
    }

    /// Forgets series that nothing was added to for long.
    pub fn expire(&mut self, now_s: u64) {
        for family in self.active.iter_mut().flat_map(|active| &mut active.families) {
            family.expire(now_s, self.limits.idle.as_secs());
        }
    }

    /// All families, also those without series. Histograms are kept elsewhere.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.active.iter().flat_map(|active| &active.families)
    }

    /// The family of that name, if its metric is on.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families().find(|family| family.info().name == name)
    }

    /// Every family that any metric can have, once.
    #[must_use]
    pub fn known_families() -> Vec<FamilyInfo> {
        let mut known: Vec<FamilyInfo> = Vec::new();
        for (name, _) in crate::config::MetricName::ALL {
            for config in crate::config::parse(name).unwrap_or_default() {
                for info in metric::of(&config).families() {
                    if known.iter().all(|known| known.name != info.name) {
                        known.push(*info);
                    }
                }
            }
        }
        known
    }
}

#[cfg(test)]
mod tests;
