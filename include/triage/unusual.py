"""What failures have in common beyond chance; each statement is tested, so that few jobs say nothing.

With K of N jobs failed and n of the N in some place, the number of failures there follows the hypergeometric
distribution if the place does not matter. A sentence is made only where what was seen has a chance below
ALARM, divided by the number of places that were looked at (Bonferroni).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.triage.nodes import NodeComparison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from include.bookkeeping.records import NodeFact, StageDiagnosis

ALARM = 1e-3
"""Chance of a false statement, over all places of a kind together."""
MIN_JOBS = 5
"""Fewer failures are only listed."""
MIN_RATIO = 3.0
"""A place is named only if it fails so many times more often than the others."""
SHOWN = 3
"""Places of a kind that are named."""
MAX_INPUTS = 2_000_000
"""Inputs of jobs that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is known of all jobs, also of those that did not fail; each part may be empty."""

    nodes: Mapping[str, int] = field(default_factory=dict)
    """Node → jobs that ended there, good and bad."""
    sites: Mapping[str, int] = field(default_factory=dict)
    """Site → jobs that ended there, good and bad."""
    good_at: Sequence[float] = ()
    """When good jobs ended, epoch seconds."""
    subruns: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """(stage, run) → first and last subrun that it has."""
    inputs: Mapping[tuple[str, int, int], Sequence[str]] = field(default_factory=dict)
    """(stage, run, first subrun) → the job's inputs, for all jobs."""
    facts: Sequence[NodeFact] = ()
    """What is known of each node that jobs ran on."""


class Ground:
    """A background made ready for any number of groups of the same failures."""

    def __init__(self, known: Background, everything: Sequence[StageDiagnosis]) -> None:
        self.known = known
        self.nodes = known.nodes or Counter(item.diagnosis.host for item in everything if item.diagnosis.host)
        self.sites = known.sites or Counter(item.diagnosis.site for item in everything if item.diagnosis.site)
        self.jobs_by_node = "jobs" if known.nodes else "failed jobs"
        self.jobs_by_site = "jobs" if known.sites else "failed jobs"
        self.comparison = NodeComparison(known.facts)
        self.readers: dict[str, Counter[str]] = {}
        """Stage → input → jobs that read it."""
        self.jobs_with_inputs: Counter[str] = Counter()
        looked = 0
        for key, paths in known.inputs.items():
            if (looked := looked + len(paths)) > MAX_INPUTS:
                break
            self.jobs_with_inputs[key[0]] += 1
            self.readers.setdefault(key[0], Counter()).update(set(paths))

    @cached_property
    def good_at(self) -> Any:
        """When good jobs ended, sorted."""
        import numpy as np

        return np.sort(np.asarray(self.known.good_at, dtype=float))


def sentences(some: Sequence[StageDiagnosis], ground: Ground) -> Iterator[str]:
    """Yield what is unusual about `some` of all failures."""
    if len(some) < MIN_JOBS:
        return
    yield from _same_ending(some)
    nodes = [item.diagnosis.host for item in some]
    sites = [item.diagnosis.site for item in some]
    yield from _places("node", nodes, ground.nodes, ground.jobs_by_node)
    yield from _places("site", sites, ground.sites, ground.jobs_by_site)
    yield from _since(some, ground)
    yield from _subruns(some, ground.known)
    yield from _inputs(some, ground)
    yield from ground.comparison.common([node for node in nodes if node])


def tail(k: int, *, drawn: int, marked: int, total: int) -> float:
    """Return the chance of at least `k` marked among `drawn` of `total`, of which `marked` are marked."""
    most = min(drawn, marked)
    least = max(0, drawn + marked - total)
    if k <= least:
        return 1.0
    if k > most:
        return 0.0
    term = math.exp(_choose(marked, k) + _choose(total - marked, drawn - k) - _choose(total, drawn))
    chance = 0.0
    for there in range(k, most + 1):
        chance += term
        if term < chance * 1e-12 and there > drawn * marked / total:
            break
        rest = total - marked - drawn + there + 1
        term *= (marked - there) * (drawn - there) / ((there + 1) * rest)
    return min(1.0, chance)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _same_ending(some: Sequence[StageDiagnosis]) -> Iterator[str]:
    endings = Counter((item.diagnosis.exit_code, item.diagnosis.exit_signal) for item in some)
    ((code, number), jobs), *_ = endings.most_common(1)
    if jobs == len(some) and (code is not None or number is not None):
        what = f"signal {number}" if number is not None else f"exit code {code}"
        yield f"all {jobs} ended with {what}"


def _places(kind: str, here: Sequence[str | None], totals: Mapping[str, int], jobs_are: str) -> Iterator[str]:
    """Yield which places fail more often than the others.

    Without totals all failures stand in for all jobs: a place is named where it has more of this kind of
    failure than of others.
    """
    counted = Counter(place for place in here if place)
    # What the totals do not know of yet must not look better than certain failure.
    background = dict(totals)
    for place, jobs in counted.items():
        background[place] = max(background.get(place, 0), jobs)
    marked, total = counted.total(), sum(background.values())
    if marked < MIN_JOBS or len(background) < 2:
        return
    if len(counted) == 1 and marked == len(here):
        (place,) = counted
        if tail(marked, drawn=background[place], marked=marked, total=total) < ALARM / len(background):
            share = f"{_percent(background[place] / total)} of {jobs_are}"
            yield f"all {marked} are on {kind} {place}, which had {share}"
        return
    found = []
    for place, jobs in counted.items():
        ratio = _ratio(jobs, background[place], marked, total)
        if jobs >= 3 and ratio >= MIN_RATIO:
            chance = tail(jobs, drawn=background[place], marked=marked, total=total)
            if chance < ALARM / len(background):
                found.append((chance, -jobs, place, ratio))
    for _, minus_jobs, place, ratio in sorted(found)[:SHOWN]:
        other = "other nodes" if kind == "node" else "other sites"
        much = (
            f"{ratio:.0f}x more often than {other}" if math.isfinite(ratio) else f"and none of {other} does"
        )
        of = f"{-minus_jobs} of {background[place]} {jobs_are} there"
        yield f"{kind} {place} fails so {much} ({of})"
    if len(found) > SHOWN:
        yield f"and so do {len(found) - SHOWN} more {kind}s"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _ratio(jobs: int, here: int, marked: int, total: int) -> float:
    """Return how many times more often a place fails than the others."""
    elsewhere = (marked - jobs) / (total - here) if total > here else 0.0
    return (jobs / here) / elsewhere if elsewhere else math.inf


def _since(some: Sequence[StageDiagnosis], ground: Ground) -> Iterator[str]:
    """Yield since when it fails: the moment that divides most clearly into before and after."""
    import numpy as np

    bad = np.array(sorted(item.diagnosis.at for item in some if item.diagnosis.at is not None))
    good = ground.good_at
    if len(bad) < MIN_JOBS or len(good) < MIN_JOBS:
        return
    # Each moment just before a failure is tried.
    bad_before, good_before = np.arange(len(bad)), np.searchsorted(good, bad)
    bad_after, good_after = len(bad) - bad_before, len(good) - good_before
    gain = _likelihood(bad_before, good_before) + _likelihood(bad_after, good_after)
    gain -= _likelihood(np.array([len(bad)]), np.array([len(good)]))
    rises = bad_after * (bad_before + good_before) > bad_before * (bad_after + good_after)
    best = int(np.argmax(np.where(rises, gain, -np.inf)))
    if not rises[best]:
        return
    before = int(bad_before[best]) / max(1, int(bad_before[best] + good_before[best]))
    after = int(bad_after[best]) / int(bad_after[best] + good_after[best])
    # Twice the gain follows chi-squared with one degree of freedom.
    chance = math.erfc(math.sqrt(max(0.0, float(gain[best])))) * len(bad)
    if chance >= ALARM or after < MIN_RATIO * before:
        return
    when = f"{datetime.fromtimestamp(float(bad[best]), tz=UTC):%Y-%m-%d %H:%M} UTC"
    if best == 0:
        yield f"all {len(bad)} ended at {when} or later; {int(good_before[best])} jobs ended well before"
    else:
        yield f"since {when} {_percent(after)} of jobs end so, before {_percent(before)}"


def _likelihood(bad: Any, good: Any) -> Any:
    """Return the logarithm of the likelihood of so many bad and good jobs at their own rate, elementwise."""
    import numpy as np

    total = bad + good
    parts = [
        np.where(part > 0, part * np.log(np.maximum(part, 1) / np.maximum(total, 1)), 0.0)
        for part in (bad, good)
    ]
    return parts[0] + parts[1]


def _subruns(some: Sequence[StageDiagnosis], known: Background) -> Iterator[str]:
    """Yield the range of subruns that the failures keep to, where it is far smaller than what there is."""
    spans = {(item.stage, item.run) for item in some}
    if len(spans) != 1:
        return
    ((stage, run),) = spans
    if (stage, run) not in known.subruns:
        return
    first, last = known.subruns[stage, run]
    low = min(item.diagnosis.first_subrun for item in some)
    high = max(item.diagnosis.last_subrun for item in some)
    share = (high - low + 1) / max(1, last - first + 1)
    # The chance that so many fall into one window of that width, wherever it is.
    chance = len(some) * share ** (len(some) - 1)
    if share <= 0.5 and chance < ALARM:
        yield f"only subruns {low}..{high} of {first}..{last} (run {run})"


def _inputs(some: Sequence[StageDiagnosis], ground: Ground) -> Iterator[str]:
    """Yield which inputs the failures have in common."""
    stage = some[0].stage
    read, total = ground.readers.get(stage, Counter()), ground.jobs_with_inputs[stage]
    keys = {(item.stage, item.run, item.diagnosis.first_subrun) for item in some}
    bad: Counter[str] = Counter()
    marked = 0
    for key in keys & ground.known.inputs.keys():
        paths = set(ground.known.inputs[key])
        if key[0] == stage and paths <= read.keys():
            marked += 1
            bad.update(paths)
    found = []
    for path, jobs in bad.items():
        if jobs >= 3 and _ratio(jobs, read[path], marked, total) >= MIN_RATIO:
            chance = tail(jobs, drawn=read[path], marked=marked, total=total)
            if chance < ALARM / max(1, len(read)):
                found.append((chance, -jobs, path))
    for _, minus_jobs, path in sorted(found)[:SHOWN]:
        others = marked + minus_jobs
        yield (
            f"{-minus_jobs} of {read[path]} jobs with input {path} fail so, "
            f"{others} of the {total - read[path]} without it"
        )
