"""A campaign in which all comes late, twice or not at all: nothing completed is queued again or removed.

The pattern is that of a production whose recoveries queued completed indices again and whose scripts removed
outputs before they were rewritten: 51,333 logs for 20,000 files, 54 of them lost.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import Submission, Unit
from include.campaign.naming import area_of, submission_tag
from include.campaign.plan import CampaignPlan
from include.campaign.states import JobStatus, OutputState
from include.recovery.decision import Act, decide
from include.recovery.past import past_of
from include.recovery.recovered import recovery_units
from include.recovery.review import Tools, review_stage
from include.recovery.standing import Standing, standing_of
from include.triage.classify import Triage
from tests.unit.recovery.records import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEDD = "ap1@fake"
RUN, SUBRUNS = 7, 2000
FATES = (
    ("good", 60),
    ("report lost", 6),
    ("forgotten by the schedd", 4),
    ("visible late", 6),
    ("twice", 6),
    ("killed", 8),
    ("late original", 10),
)


def sealed(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**document, "selfcheck": hashlib.sha256(text.encode()).hexdigest()}).encode()


class World:
    """The pool, the storage and the clock; what it hides comes to light with `show`."""

    def __init__(self, folder: Path, ledger: Ledger, seed: int) -> None:
        self.now = 1_000_000.0
        self.random = random.Random(seed)
        self.ledger, self.folder = ledger, folder
        self.pool = FakePool(str(folder / "pool.json"), (SCHEDD,))
        self.plan = _plan(folder)
        self.hidden: list[tuple[int, int, Path, Path]] = []
        """(rank, subrun, where it is, where it belongs) of what storage does not show yet."""
        self.completed: set[int] = set()
        """Subruns that have a good output somewhere, seen or not."""

    def submit(self, recovery: int, units: tuple[Unit, ...]) -> None:
        tag = submission_tag(dag_id="x.replay", tranche="t", run=RUN, stage="gen", recovery=recovery)
        row = self.ledger.intend(
            tag=tag, dag_id="x.replay", tranche="t", run=RUN, stage="gen", recovery=recovery, units=units,
            work_dir=str(self.folder), now=self.now,
        )  # fmt: skip
        cluster = self.pool.submit(SCHEDD, tag, len(units))
        self.ledger.record_submitted(tag, clusters=((SCHEDD, cluster, len(units)),), message="", now=self.now)
        fates = self.random.choices(
            [name for name, _ in FATES], [weight for _, weight in FATES], k=len(units)
        )
        ends: dict[tuple[JobStatus, int | None], list[int]] = {}
        for unit, fate in zip(units, fates, strict=True):
            ends.setdefault(self._live(row, cluster, unit, fate), []).append(unit.process)
        for (status, code), processes in ends.items():
            self.pool.set_status(SCHEDD, cluster, status, processes=processes, since=self.now, exit_code=code)

    def _live(self, row: Submission, cluster: int, unit: Unit, fate: str) -> tuple[JobStatus, int | None]:
        """Let a job live its life; return how its ad ends."""
        subrun = unit.first_subrun
        if fate in ("killed", "late original"):
            self._execution(row, cluster, unit, start=1, good=False)
            if fate == "late original":
                self._execution(row, cluster, unit, start=2, good=True, hide=2)
            return JobStatus.COMPLETED, 137
        self.completed.add(subrun)
        self._execution(
            row, cluster, unit, start=1, good=True, hide=1 if fate == "visible late" else 0,
            report=fate != "report lost",
        )  # fmt: skip
        if fate == "twice":
            self._execution(row, cluster, unit, start=2, good=True)
        if fate == "forgotten by the schedd":
            return JobStatus.UNKNOWN, None
        return JobStatus.COMPLETED, 0

    def _execution(
        self,
        row: Submission,
        cluster: int,
        unit: Unit,
        *,
        start: int,
        good: bool,
        hide: int = 0,
        report: bool = True,
    ) -> None:
        name, subrun = f"{cluster}.{unit.process}.{start}-{start:08x}", unit.first_subrun
        logs, out = (
            Path(area_of(base, stage="gen", run=RUN, tag=row.tag)) / name
            for base in (self.plan.logs, self.plan.outstage)
        )
        place = self.folder / "hidden" / name if hide else None
        shown = {"logs": place / "logs" if place else logs, "out": place / "out" if place else out}
        content = f"{name} {subrun}".encode()
        output = {
            "name": "default", "file": f"{RUN}_{subrun}", "path": str(out / f"{RUN}_{subrun}"),
            "size": len(content), "sha256": hashlib.sha256(content).hexdigest(),
            "adler32": f"{zlib.adler32(content):08x}",
            "events": 1, "run": RUN, "first_subrun": subrun, "last_subrun": subrun,
        }  # fmt: skip
        document = {
            "version": 1, "tag": row.tag, "execution": name, "cluster": cluster, "process": unit.process,
            "schedd": SCHEDD, "global_job_id": None, "run": RUN,
            "first_subrun": subrun, "last_subrun": subrun,
            "outputs": [output] if good else [],
        }  # fmt: skip
        ending = {
            "host": "wn", "site": None, "node": {}, "started": self.now - 10, "ended": self.now + start,
            "exit_code": 0 if good else None, "exit_signal": None if good else 9,
            "failed_at": None if good else "script",
            "error": None if good else "the script was killed by signal 9",
        }  # fmt: skip
        shown["logs"].mkdir(parents=True)
        (shown["logs"] / "job.log").write_text("" if good else "std::bad_alloc\n")
        if report:
            (shown["logs"] / "report.json").write_bytes(sealed({**document, **ending}))
        if good:
            shown["out"].mkdir(parents=True)
            (shown["out"] / output["file"]).write_bytes(content)
            (shown["out"] / "manifest.json").write_bytes(sealed(document))
        if hide:
            self.hidden += [(hide, subrun, shown["logs"], logs), (hide, subrun, shown["out"], out)]

    def show(self, rank: int) -> None:
        """Bring to light what was hidden up to this rank."""
        for _, subrun, source, target in [item for item in self.hidden if item[0] <= rank]:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            self.completed.add(subrun)
        self.hidden = [item for item in self.hidden if item[0] > rank]

    def review(self) -> Standing:
        tools = Tools(ledger=self.ledger, pool=self.pool, triage=Triage.load(), clock=lambda: self.now)
        (item,) = self.ledger.slices_of("x.replay", "t")
        review_stage(tools, self.plan, self.plan.stages[0], item)
        return standing_of(self.ledger, self.plan, self.plan.stages[0], item)

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.glob("outstage/**/*") if path.is_file()}


def _plan(folder: Path) -> CampaignPlan:
    return CampaignPlan(
        version=1, experiment="x", campaign="replay", description="", owner="x", phase="production", tags=(),
        schedule=None, group="x", role=None, first_run=RUN, last_run=RUN, slices=1, subruns=SUBRUNS,
        first_subrun=0, stages=(stage(1.0, attempts=9, max_memory_mb=10**6),),
        outstage=str(folder / "outstage"),
        logs=str(folder / "logs"), cleanup_script=None, spec_file="replay.yaml", spec_sha256="0" * 64,
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_completed_is_queued_again_and_nothing_is_removed(
    tmp_path: Path, ledger: Ledger, seed: int
) -> None:
    world = World(tmp_path, ledger, seed)
    plan, kind = world.plan, world.plan.stages[0]
    (item,) = ledger.reserve(plan, tranche="t", dag_run_id="t", slices=1, now=world.now)
    world.submit(0, tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(SUBRUNS)))
    seen: dict[Path, bytes] = {}
    queued: Counter[str] = Counter()
    for number in range(1, 30):
        world.now += 100
        standing = world.review()
        if standing.unknown:  # as the check does: it looks again later, when more has come to light
            world.now += 700
            world.show(1)
            standing = world.review()
        there = world.files()
        assert {path: there.get(path) for path in seen} == seen, "a file was changed or removed"
        seen = there
        # Nobody ever learns the end of a job that the schedd has forgotten; its output tells.
        decision = decide(standing, kind, past_of(ledger, item, "gen", now=world.now))
        if decision.act is not Act.RECOVER:
            break
        again = world.completed & set(decision.subruns)
        assert not again, f"recovery {number} queues completed subruns again: {sorted(again)[:5]}"
        tag = submission_tag(dag_id="x.replay", tranche="t", run=RUN, stage="gen", recovery=number)
        units = recovery_units(ledger, plan, kind, item, subruns=decision.subruns, tag=tag, now=world.now)
        world.submit(number, units)
        queued["recoveries"] += len(units)
        world.show(2)
    assert decision.act is Act.NOTHING, decision.why
    accepted = Counter(
        output.first_subrun
        for row in ledger.submissions("x.replay", "t")
        for output in ledger.outputs(row.tag)
        if output.state is OutputState.ACCEPTED
    )
    assert accepted == dict.fromkeys(range(SUBRUNS), 1)
    assert 0 < queued["recoveries"] < SUBRUNS / 2
