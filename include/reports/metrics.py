"""The campaigns' gauges for Prometheus, computed from the ledger; docs/metrics.md has the names."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from include.errors import LedgerError
from include.progress.bars import PARTS
from include.progress.estimate import latest_of
from include.progress.stages import looks, states_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from include.bookkeeping.ledger import Ledger
    from include.progress.estimate import Estimate
    from include.progress.stages import StageLine, TrancheState

MOST_CAMPAIGNS = 500
"""Campaigns that have series of their own: those in flight, then those begun last."""
FRESH_S = 5.0
"""Answers within this time of each other are one look at the ledger."""
CAMPAIGN = ("experiment", "campaign")
STAGE = (*CAMPAIGN, "stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One gauge."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric(
        name="prodsys_ledger_up",
        meaning="Whether the ledger could be read: 1, or 0 and nothing else is told.",
    ),
    Metric(
        name="prodsys_ledger_read_seconds",
        meaning="How long reading the ledger took.",
    ),
    Metric(
        name="prodsys_campaigns",
        meaning="Campaigns in the ledger.",
    ),
    Metric(
        name="prodsys_campaigns_left_out",
        meaning="Campaigns without series of their own, since there are too many.",
    ),
    Metric(
        name="prodsys_subruns",
        meaning="Subruns of a stage by where they are.",
        labels=(*STAGE, "state"),
    ),
    Metric(
        name="prodsys_complete_ratio",
        meaning="Accepted subruns of a stage over all, 0..1.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_rate_jobs_per_hour",
        meaning="Rate at which a stage's jobs end, where it can be told.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_end_timestamp_seconds",
        meaning="When a campaign will be done, where that can be told of all its dag_runs.",
        labels=(*CAMPAIGN, "bound"),
    ),
    Metric(
        name="prodsys_events",
        meaning="Events in a stage's accepted files.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_output_bytes",
        meaning="Size of a stage's accepted files that are still there.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_duplicate_files",
        meaning="Output files of a stage beyond the accepted ones.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_duplicate_bytes",
        meaning="Their size.",
        labels=STAGE,
    ),
    Metric(
        name="prodsys_slices",
        meaning="Slices by state: waiting, in_flight, finished.",
        labels=(*CAMPAIGN, "state"),
    ),
    Metric(
        name="prodsys_questions",
        meaning="Questions to a person that nobody has answered.",
        labels=CAMPAIGN,
    ),
    Metric(
        name="prodsys_last_count_timestamp_seconds",
        meaning="When a campaign's open jobs were last counted.",
        labels=CAMPAIGN,
    ),
    Metric(
        name="prodsys_submissions",
        meaning="Submissions by state, over all dag_runs.",
        labels=(*CAMPAIGN, "state"),
    ),
    Metric(
        name="prodsys_recoveries",
        meaning="Recoveries among them.",
        labels=CAMPAIGN,
    ),
    Metric(
        name="prodsys_failures",
        meaning="Diagnosed failures by category of triage, over all dag_runs.",
        labels=(*CAMPAIGN, "category"),
    ),
    Metric(
        name="prodsys_schedd_jobs",
        meaning="Jobs at a schedd that are not known to have ended.",
        labels=("schedd",),
    ),
    Metric(
        name="prodsys_exclusions",
        meaning="Exclusions in force, by kind: node, site.",
        labels=("kind",),
    ),
)
"""Every gauge; the labels' values are bounded by campaigns, stages, schedds, and what the code enumerates."""
BY_NAME = {metric.name: metric for metric in METRICS}


def exposition(ledger: Ledger, *, clock: Callable[[], float] = time.time) -> bytes:
    """Return the gauges as Prometheus reads them (text format); of a ledger that is away, just that."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, clock=clock))
    return generate_latest(registry)


class LedgerCollector(Collector):
    """Computes the gauges when they are asked for, at most once in FRESH_S; may be asked from any thread."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._clock = ledger, clock
        self._lock = threading.Lock()
        self._kept: tuple[float, list[GaugeMetricFamily]] | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges without values, so that the ledger is not read for their names."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges with their values."""
        with self._lock:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > FRESH_S:
                self._kept = (now, self._read())
            return self._kept[1]

    def _read(self) -> list[GaugeMetricFamily]:
        gauges = _Gauges()
        began = time.perf_counter()
        try:
            _fill(gauges, self._ledger, now=self._clock())
        except LedgerError:
            gauges = _Gauges()
            gauges.add("prodsys_ledger_up", 0)
            return gauges.families()
        gauges.add("prodsys_ledger_up", 1)
        gauges.add("prodsys_ledger_read_seconds", time.perf_counter() - began)
        return gauges.families()


class _Gauges:
    """Values by name and labels; what has the same labels is added up."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in METRICS}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a value."""
        values = self._values[name]
        values[labels] = values.get(labels, 0.0) + value

    def latest(self, name: str, value: float, *labels: str) -> None:
        """Keep the later of two times."""
        values = self._values[name]
        values[labels] = max(values.get(labels, value), value)

    def ratios(self) -> None:
        """Add how complete each stage is, over all its dag_runs."""
        whole: dict[tuple[str, ...], float] = {}
        subruns = self._values["prodsys_subruns"]
        for labels, number in subruns.items():
            whole[labels[:-1]] = whole.get(labels[:-1], 0.0) + number
        for stage, number in whole.items():
            if number:
                self.add("prodsys_complete_ratio", subruns[*stage, "accepted"] / number, *stage)

    def families(self) -> list[GaugeMetricFamily]:
        """Return the gauges that have values."""
        found = []
        for name, values in self._values.items():
            if values:
                family = _family(BY_NAME[name])
                for labels, value in sorted(values.items()):
                    family.add_metric(labels, value)
                found.append(family)
        return found


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)


def _fill(gauges: _Gauges, ledger: Ledger, *, now: float) -> None:
    states = states_of(ledger.overview(times=looks(now)), now=now)
    chosen = _chosen(states)
    known = {state.facts.dag_id for state in states}
    gauges.add("prodsys_campaigns", len(known))
    gauges.add("prodsys_campaigns_left_out", len(known - chosen))
    shown = [state for state in states if state.facts.dag_id in chosen]
    for state in shown:
        _fill_tranche(gauges, state)
    _fill_ends(gauges, shown)
    gauges.ratios()
    for each in ledger.submission_counts():
        if each.dag_id in chosen:
            gauges.add("prodsys_submissions", each.number, *_names(each.dag_id), each.kind)
            gauges.add("prodsys_recoveries", each.recoveries, *_names(each.dag_id))
    for each in ledger.failure_counts():
        if each.dag_id in chosen:
            gauges.add("prodsys_failures", each.number, *_names(each.dag_id), each.kind)
    for schedd, jobs in ledger.jobs_by_schedd().items():
        gauges.add("prodsys_schedd_jobs", jobs, schedd)
    for kind in ("node", "site"):
        gauges.add("prodsys_exclusions", 0, kind)
    for exclusion in ledger.exclusions(now):
        gauges.add("prodsys_exclusions", 1, exclusion.kind)


def _chosen(states: Iterable[TrancheState]) -> set[str]:
    """Return the campaigns that have series: those in flight first, then those begun last."""
    order = sorted(states, key=lambda state: (state.facts.in_flight == 0, -state.facts.reserved_at))
    return set(list(dict.fromkeys(state.facts.dag_id for state in order))[:MOST_CAMPAIGNS])


def _names(dag_id: str) -> tuple[str, str]:
    experiment, _, campaign = dag_id.partition(".")
    return experiment, campaign


def _fill_tranche(gauges: _Gauges, state: TrancheState) -> None:
    names, facts = _names(state.facts.dag_id), state.facts
    for line in state.stages:
        _fill_stage(gauges, line, (*names, line.stage))
    waiting = facts.slices - facts.in_flight - facts.finished
    for label, number in (("waiting", waiting), ("in_flight", facts.in_flight), ("finished", facts.finished)):
        gauges.add("prodsys_slices", number, *names, label)
    gauges.add("prodsys_questions", len(state.questions), *names)
    if state.seen_at is not None:
        gauges.latest("prodsys_last_count_timestamp_seconds", state.seen_at, *names)


def _fill_ends(gauges: _Gauges, states: Iterable[TrancheState]) -> None:
    """Tell when all dag_runs of a campaign are done; nothing where the end of one cannot be told."""
    found: dict[str, list[Estimate]] = {}
    for state in states:
        found.setdefault(state.facts.dag_id, []).append(state.estimate)
    for dag_id, some in found.items():
        end = latest_of(some)
        for bound, at in (("early", end.early), ("expected", end.end), ("late", end.late)):
            if at is not None:
                gauges.add("prodsys_end_timestamp_seconds", at, *_names(dag_id), bound)


def _fill_stage(gauges: _Gauges, line: StageLine, names: tuple[str, ...]) -> None:
    for part in PARTS:
        gauges.add("prodsys_subruns", getattr(line.bar, part), *names, part)
    gauges.add("prodsys_events", line.events, *names)
    gauges.add("prodsys_output_bytes", line.bytes, *names)
    gauges.add("prodsys_duplicate_files", line.duplicates, *names)
    gauges.add("prodsys_duplicate_bytes", line.duplicate_bytes, *names)
    if line.estimate.rate is not None:
        gauges.add("prodsys_rate_jobs_per_hour", line.estimate.rate, *names)
