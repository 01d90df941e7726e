//! Metrics as text in the form of OpenMetrics 1.0, with exemplars, from what the registry has gathered.
//!
//! The crate `prometheus` has no such encoder, and `prometheus-client`, which has one, lets nobody else make exemplars.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use rustc_hash::FxHashMap;

use crate::exemplar::Exemplar;
use crate::series::FamilyInfo;

/// The media type of the text.
pub(crate) const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Exemplars to show, by the name of the family (without `_total`) and the labels of the series.
#[derive(Debug, Default)]
pub struct Shown(FxHashMap<String, FxHashMap<Vec<(String, String)>, Exemplar>>);

impl Shown {
    /// One of the series of a family that has these labels.
    pub fn add<'a>(
        &mut self,
        family: &FamilyInfo,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        exemplar: Exemplar,
    ) {
        let unit = match family.unit {
            "By" => "_bytes",
            "s" => "_seconds",
            _ => "",
        };
        let family = self.0.entry(format!("{}{unit}", family.name)).or_default();
        family.insert(sorted(labels), exemplar);
    }

    fn of(&self, family: &str, metric: &Metric) -> Option<&Exemplar> {
        let labels = metric.get_label().iter();
        self.0
            .get(family)?
            .get(&sorted(labels.map(|label| (label.name(), label.value()))))
    }
}

fn sorted<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let mut labels: Vec<_> = labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.sort();
    labels
}

/// All of it, to the end mark.
pub(crate) fn text(families: &[MetricFamily], exemplars: &Shown) -> String {
    let mut text = String::new();
    for family in families {
        push_family(&mut text, family, exemplars).expect("invariant: a String takes all text");
    }
    text.push_str("# EOF\n");
    text
}

fn push_family(text: &mut String, family: &MetricFamily, exemplars: &Shown) -> fmt::Result {
    let (name, kind) = match (family.get_field_type(), family.name()) {
        (MetricType::COUNTER, name) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
        // It is a gauge of 1 in the older format, which has no such type.
        (_, "target_info") => ("target", "info"),
        (MetricType::HISTOGRAM, name) => (name, "histogram"),
        (MetricType::GAUGE, name) => (name, "gauge"),
        // OpenTelemetry's exporter makes no others.
        _ => return Ok(()),
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    if let Some(unit) = ["bytes", "seconds"].into_iter().find(|unit| {
        let prefix = name.strip_suffix(unit);
        prefix.is_some_and(|prefix| prefix.ends_with('_'))
    }) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        let labels = metric.get_label();
        let exemplar = exemplars.of(name, metric);
        match kind {
            "counter" => {
                let value = Number(metric.get_counter().get_value());
                write!(text, "{name}_total{} {value}", Labels(labels, None))?;
                push_exemplar(text, exemplar)?;
            }
            "histogram" => push_histogram(text, name, metric, exemplar)?,
            "info" => writeln!(text, "{name}_info{} 1", Labels(labels, None))?,
            _ => {
                let value = Number(metric.get_gauge().get_value());
                writeln!(text, "{name}{} {value}", Labels(labels, None))?;
            }
        }
    }
    Ok(())
}

/// The exemplar stands at the bucket that it has been counted in.
fn push_histogram(text: &mut String, name: &str, metric: &Metric, mut exemplar: Option<&Exemplar>) -> fmt::Result {
    let (histogram, labels) = (metric.get_histogram(), metric.get_label());
    let finite = histogram
        .get_bucket()
        .iter()
        .filter(|bucket| bucket.upper_bound().is_finite());
    let finite = finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (bound, count) in finite.chain([(f64::INFINITY, histogram.get_sample_count())]) {
        let bound_text = match bound.is_finite() {
            true => format!("{bound:?}"),
            false => "+Inf".to_owned(),
        };
        write!(text, "{name}_bucket{} {count}", Labels(labels, Some(&bound_text)))?;
        push_exemplar(text, exemplar.take_if(|exemplar| exemplar.value <= bound))?;
    }
    let (sum, count) = (Number(histogram.get_sample_sum()), histogram.get_sample_count());
    writeln!(text, "{name}_count{} {count}", Labels(labels, None))?;
    writeln!(text, "{name}_sum{} {sum}", Labels(labels, None))
}

/// What stands behind a sample, and its line's end.
fn push_exemplar(text: &mut String, exemplar: Option<&Exemplar>) -> fmt::Result {
    let Some(Exemplar { trace, value, time_ns }) = exemplar else {
        return writeln!(text);
    };
    write!(text, " # {{trace_id=\"{}\"", trace.trace_text())?;
    if let Some(span_id) = trace.span_text() {
        write!(text, ",span_id=\"{span_id}\"")?;
    }
    write!(text, "}} {}", Number(*value))?;
    match u64::try_from(*time_ns) {
        Ok(time_ns) => writeln!(text, " {}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000),
        Err(_) => writeln!(text),
    }
}

/// Labels in braces; nothing if there are none. `le` is the bound of a bucket.
struct Labels<'a>(&'a [LabelPair], Option<&'a str>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.0.iter().map(|label| (label.name(), label.value()));
        let all = own.chain(self.1.map(|bound| ("le", bound)));
        // The same name twice would make the whole page invalid.
        let all: BTreeMap<&str, &str> = all.collect();
        let mut before = '{';
        for (name, value) in &all {
            write!(formatter, "{before}{name}=\"{}\"", Escaped(value))?;
            before = ',';
        }
        match all.is_empty() {
            true => Ok(()),
            false => formatter.write_str("}"),
        }
    }
}

/// Text that may be in quotes, or behind `# HELP`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => formatter.write_str("\\\\")?,
                '"' => formatter.write_str("\\\"")?,
                '\n' => formatter.write_str("\\n")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A number as the format writes it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => formatter.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => formatter.write_str("-Inf"),
            value => write!(formatter, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use flow::trace::Trace;
    use prometheus::proto::{Bucket, Counter, Gauge, Histogram};

    use super::*;

    fn family(name: &str, kind: MetricType, labels: &[(&str, &str)], fill: impl FnOnce(&mut Metric)) -> MetricFamily {
        let mut metric = Metric::default();
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        metric.set_label(labels.iter().map(pair).collect());
        fill(&mut metric);
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help("A \"thing\"\nof \\ two lines.".to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        family
    }

    fn info(name: &'static str, unit: &'static str) -> FamilyInfo {
        FamilyInfo {
            name,
            help: "",
            unit,
            labels: &[],
            is_histogram: false,
        }
    }

    #[test]
    fn all_kinds_are_written_with_their_exemplars() {
        let counter = family(
            "drops_total",
            MetricType::COUNTER,
            &[("pod", "a\"\\\n\u{e9}")],
            |metric| {
                let mut counter = Counter::default();
                counter.set_value(12.0);
                metric.set_counter(counter);
            },
        );
        let histogram = family("rtt_seconds", MetricType::HISTOGRAM, &[], |metric| {
            let mut histogram = Histogram::default();
            let bucket = |bound, count| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            histogram.set_bucket(vec![bucket(0.0001, 0), bucket(1.0, 2)]);
            histogram.set_sample_count(3);
            histogram.set_sample_sum(7.5);
            metric.set_histogram(histogram);
        });
        let gauge = |name, value| {
            family(name, MetricType::GAUGE, &[], |metric| {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            })
        };
        let mut shown = Shown::default();
        let trace = Trace::from_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let exemplar = |value| Exemplar {
            trace,
            value,
            time_ns: 1_700_000_000_000_000_001,
        };
        shown.add(
            &info("drops", "{packet}"),
            [("pod", "a\"\\\n\u{e9}")].into_iter(),
            exemplar(2.0),
        );
        shown.add(&info("rtt", "s"), std::iter::empty(), exemplar(0.5));
        let families = [
            counter,
            gauge("load", f64::INFINITY),
            histogram,
            gauge("target_info", 1.0),
        ];
        let help = "A \\\"thing\\\"\\nof \\\\ two lines.";
        let ids = "trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"";
        let wanted = format!(
            "# TYPE drops counter
# HELP drops {help}
drops_total{{pod=\"a\\\"\\\\\\n\u{e9}\"}} 12 # {{{ids}}} 2 1700000000.000000001
# TYPE load gauge
# HELP load {help}
load +Inf
# TYPE rtt_seconds histogram
# UNIT rtt_seconds seconds
# HELP rtt_seconds {help}
rtt_seconds_bucket{{le=\"0.0001\"}} 0
rtt_seconds_bucket{{le=\"1.0\"}} 2 # {{{ids}}} 0.5 1700000000.000000001
rtt_seconds_bucket{{le=\"+Inf\"}} 3
rtt_seconds_count 3
rtt_seconds_sum 7.5
# TYPE target info
# HELP target {help}
target_info 1
# EOF
"
        );
        assert_eq!(text(&families, &shown), wanted);
    }
}
