//! Envoy's metrics. One name is one metric for all VMs: counters add up, of a gauge the last writer
//! wins.

use super::abi::{self, Metric};
use crate::invoker::Counts;
use crate::time::UnixTime;

/// Their numbers at the host.
#[derive(Debug)]
pub(super) struct Metrics {
    authorized: Option<u32>,
    bypassed: Option<u32>,
    denied: Option<u32>,
    waited: Option<u32>,
    fetches_succeeded: Option<u32>,
    fetches_failed: Option<u32>,
    fetch_duration: Option<u32>,
    tokens_cached: Option<u32>,
    soonest_expiry: Option<u32>,
}

impl Metrics {
    /// Defines them all; Envoy shows a counter from then on.
    pub(super) fn define() -> Self {
        let define = |kind, name| abi::define_metric(kind, name).ok();
        Self {
            authorized: define(Metric::Counter, "invoker.requests.authorized"),
            bypassed: define(Metric::Counter, "invoker.requests.bypassed"),
            denied: define(Metric::Counter, "invoker.requests.denied"),
            waited: define(Metric::Counter, "invoker.requests.waited"),
            fetches_succeeded: define(Metric::Counter, "invoker.fetches.succeeded"),
            fetches_failed: define(Metric::Counter, "invoker.fetches.failed"),
            fetch_duration: define(Metric::Histogram, "invoker.fetch.duration_ms"),
            tokens_cached: define(Metric::Gauge, "invoker.tokens.cached"),
            soonest_expiry: define(Metric::Gauge, "invoker.tokens.soonest_expiry"),
        }
    }

    /// Adds what was counted since the last time.
    pub(super) fn add(&self, counts: &Counts) {
        for (metric, count) in [
            (self.authorized, counts.authorized),
            (self.bypassed, counts.bypassed),
            (self.denied, counts.denied),
            (self.waited, counts.waited),
            (self.fetches_succeeded, counts.fetches_succeeded),
            (self.fetches_failed, counts.fetches_failed),
        ] {
            if let Some(metric) = metric
                && count > 0
            {
                abi::increment_metric(metric, count);
            }
        }
        if let Some(metric) = self.fetch_duration {
            for duration in &counts.fetch_durations {
                abi::record_metric(
                    metric,
                    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                );
            }
        }
    }

    /// A VM without tokens (the main thread's, one that just started) writes neither.
    pub(super) fn set_tokens(&self, cached: usize, soonest_usable_end: Option<UnixTime>) {
        let Some(soonest) = soonest_usable_end else {
            return;
        };
        if let Some(metric) = self.tokens_cached {
            abi::record_metric(metric, cached as u64);
        }
        if let Some(metric) = self.soonest_expiry {
            abi::record_metric(metric, soonest.as_secs());
        }
    }
}
