//! One scrape: every metric of the table, as Prometheus' client library has it.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::families::{FAMILIES, Family, Kind};
use super::sight::{Sight, Value};
use crate::published::Published;

/// Reads [`Published`] at each scrape.
pub(super) struct Exported {
    published: Arc<Published>,
    descs: Vec<Desc>,
}

impl Exported {
    pub(super) fn new(published: Arc<Published>) -> prometheus::Result<Self> {
        let desc = |family: &Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
        };
        Ok(Exported { published, descs: FAMILIES.iter().map(desc).collect::<prometheus::Result<_>>()? })
    }
}

impl Collector for Exported {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sight = Sight::of(&self.published);
        FAMILIES.iter().filter_map(|family| read(family, &sight)).collect()
    }
}

/// A family with its samples; none where there is no sample, which the text format does not know.
fn read(family: &Family, sight: &Sight<'_>) -> Option<MetricFamily> {
    let metrics: Vec<Metric> =
        (family.read)(sight).into_iter().map(|(labels, value)| metric(family, labels, &value)).collect();
    if metrics.is_empty() {
        return None;
    }
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(match family.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    out.set_metric(metrics);
    Some(out)
}

fn metric(family: &Family, labels: Vec<String>, value: &Value) -> Metric {
    let pair = |(name, value): (&&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value);
        pair
    };
    let mut pairs: Vec<LabelPair> = family.labels.iter().zip(labels).map(pair).collect();
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    let mut metric = Metric::from_label(pairs);
    match value {
        Value::Number(number) if family.kind == Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(*number);
            metric.set_counter(counter);
        }
        Value::Number(number) => {
            let mut gauge = Gauge::default();
            gauge.set_value(*number);
            metric.set_gauge(gauge);
        }
        Value::Buckets(buckets, sum, count) => {
            let bucket = |(bound, count): &(f64, u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(*count);
                bucket
            };
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets.iter().map(bucket).collect());
            histogram.set_sample_sum(*sum);
            histogram.set_sample_count(*count);
            metric.set_histogram(histogram);
        }
    }
    metric
}
