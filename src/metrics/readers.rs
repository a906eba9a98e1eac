//! Readers of the metrics that take more than a line of the table.

use super::sight::{Samples, Sight, Value, count, each, float, pairs, truth};
use crate::capture::busy::BUCKETS;
use crate::published::control_counters::Cause;
use crate::published::status::{Blindness, Drift};
use crate::respond::Verdict;
use crate::wire::frame::{Encapsulation, TunnelKind};

pub(super) fn packets(at: &Sight<'_>) -> Samples {
    let interfaces = at.published.counters.interfaces();
    let both = interfaces
        .iter()
        .flat_map(|of| [(of.name.clone(), "in", of.packets_in.get()), (of.name.clone(), "out", of.packets_out.get())]);
    both.map(|(name, way, packets)| (vec![name, way.to_owned()], Value::Number(float(packets)))).collect()
}

pub(super) fn blind(at: &Sight<'_>) -> Samples {
    let each = at.status.interfaces.iter().flat_map(|interface| {
        let blind = interface.blind.as_ref().map(|blind| blind.reason);
        Blindness::ALL.map(|reason| {
            let labels = vec![interface.name.clone(), reason.label().to_owned()];
            (labels, Value::Number(truth(blind == Some(reason))))
        })
    });
    each.collect()
}

pub(super) fn renamed(at: &Sight<'_>) -> Samples {
    each(at.status.interfaces.iter().map(|interface| {
        (interface.name.as_str(), truth(interface.now_called.is_some() || interface.formerly.is_some()))
    }))
}

pub(super) fn shard_alive(at: &Sight<'_>) -> Samples {
    let shards = at.published.counters.shard_views();
    each(shards.iter().map(|shard| (shard.shard.to_string(), at.seconds(shard.alive))))
}

pub(super) fn unread(at: &Sight<'_>) -> Samples {
    let counters = &at.published.counters;
    let apart = counters.unread().into_iter().map(|(ethertype, count)| (format!("{ethertype:#06x}"), float(count)));
    each(apart.chain([("other".to_owned(), float(counters.other_ethertypes().get()))]))
}

pub(super) fn tunnelled(at: &Sight<'_>) -> Samples {
    pairs(TunnelKind::ALL.into_iter().flat_map(|kind| {
        let opened = at.sum(|shard| shard.tunnels_opened.get(kind as usize));
        let closed = at.sum(|shard| shard.tunnels_closed.get(kind as usize));
        [([kind.label(), "true"], opened), ([kind.label(), "false"], closed)]
    }))
}

pub(super) fn encapsulated(at: &Sight<'_>) -> Samples {
    let kinds = (0..).zip(Encapsulation::ALL);
    each(kinds.map(|(position, kind)| (kind.label(), at.sum(|shard| shard.encapsulated.get(position)))))
}

pub(super) fn sampled(at: &Sight<'_>) -> Samples {
    let buckets = at.published.counters.shard_views().len() * BUCKETS;
    super::sight::one(at.sum(|shard| shard.sampled.get()) / count(buckets.max(1)))
}

pub(super) fn decisions(at: &Sight<'_>) -> Samples {
    pairs(Verdict::ALL.into_iter().flat_map(|verdict| {
        [("false", false), ("true", true)].into_iter().flat_map(move |(label, enforced)| {
            Cause::ALL.iter().map(move |cause| {
                let number = float(at.control.decisions(verdict, enforced, *cause));
                ([verdict.label(), label, cause.label()], number)
            })
        })
    }))
}

pub(super) fn repairs(at: &Sight<'_>) -> Samples {
    let repairs = &at.status.firewall.repairs;
    let number = |kind| repairs.iter().find(|repairs| repairs.kind == kind).map_or(0, |found| found.count);
    each(Drift::ALL.map(|kind| (kind.label(), float(number(kind)))))
}
