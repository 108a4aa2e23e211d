"""Admission, whatever happens: no limit is exceeded, and nobody waits for ever once things end."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from include.bookkeeping.admission import DeploymentLimits
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.ledger_admission import FORGET_S, LAPSE_S, AdmissionRequest
from tests import ledger_records as records
from tests.integration.test_ledger_admission import STAGES, send
from tests.ledger_records import NOW, TRANCHE, campaign_plan, sample, tag_of


class Admission(RuleBasedStateMachine):
    """Askers of two campaigns come, go silent, send, end, are refused; a SQLite ledger decides."""

    template: Path
    limits = DeploymentLimits(jobs_per_experiment=12, jobs_per_schedd=9, schedds=2)
    own: ClassVar = {"demo.y": (6, 2), "demo.z": (None, 1)}

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        file = Path(self.folder.name) / "ledger.db"
        shutil.copy(self.template, file)
        self.ledger = Ledger(f"sqlite:///{file}")
        self.now, self.number = NOW, 0
        self.waiting, self.admitted, self.sent = dict[str, int](), dict[str, int](), dict[str, int]()

    def teardown(self):
        self.everybody_gets_in()
        self.ledger.close()
        self.folder.cleanup()

    def everybody_gets_in(self):
        """Once those that are silent are forgotten and things end, nobody waits."""
        self.now += LAPSE_S + 1
        self.admitted.clear()
        for _ in range(len(self.waiting) + 1):
            self.tick(1)
            for tag in [*self.admitted]:
                self.submit(tag)
            for tag in [*self.sent]:
                self.finish(tag)
        assert not self.waiting

    def request(self, tag):
        jobs_limit, slices_limit = self.own[tag.split("/")[0]]
        stage = STAGES.index(tag.split("/")[3])
        return AdmissionRequest(tag=tag, stage_number=stage, jobs_limit=jobs_limit, slices_limit=slices_limit)

    def note(self, tag, waits):
        if waits is None:
            self.admitted[tag] = self.waiting.pop(tag)

    @rule(
        campaign=st.sampled_from("yz"),
        run=st.integers(0, 3),
        stage=st.sampled_from(STAGES),
        jobs=st.integers(1, 6),
    )
    def come(self, campaign, run, stage, jobs):
        self.number += 1
        run += 1000 if campaign == "z" else 3000
        tag = tag_of(stage, run=run, dag_id=f"demo.{campaign}", recovery=self.number)
        self.ledger.intend(
            tag=tag, dag_id=f"demo.{campaign}", tranche=TRANCHE, run=run, stage=stage, recovery=self.number,
            units=records.units([(n, n) for n in range(jobs)]), work_dir="/w", now=self.now,
        )  # fmt: skip
        self.waiting[tag] = jobs
        self.note(tag, self.ledger.ask(self.request(tag), limits=self.limits, now=self.now))

    @rule(seconds=st.sampled_from([1, 60, FORGET_S + 1]))
    def tick(self, seconds):
        """All that wait ask, as one triggerer does; who is not there any more asks from the beginning."""
        self.now += seconds
        answers = self.ledger.ask_again(list(self.waiting), limits=self.limits, now=self.now)
        for tag in [*self.waiting]:
            waits = (
                answers[tag]
                if tag in answers
                else self.ledger.ask(self.request(tag), limits=self.limits, now=self.now)
            )
            self.note(tag, waits)

    @precondition(lambda self: self.waiting)
    @rule(chance=st.randoms(use_true_random=False))
    def crash(self, chance):
        """An asker dies for good."""
        del self.waiting[chance.choice(sorted(self.waiting))]

    @precondition(lambda self: self.admitted)
    @rule(chance=st.randoms(use_true_random=False), refused=st.booleans())
    def act(self, chance, refused):
        tag = chance.choice(sorted(self.admitted))
        if refused:
            self.ledger.record_refused(tag, message="", now=self.now)
            del self.admitted[tag]
        else:
            self.submit(tag)

    @precondition(lambda self: self.sent)
    @rule(chance=st.randoms(use_true_random=False), gone=st.integers(0, 6))
    def go_on(self, chance, gone):
        tag = chance.choice(sorted(self.sent))
        self.sent[tag] = max(0, self.sent[tag] - gone)
        self.ledger.record_progress([sample(tag, self.now, running=self.sent[tag], completed=gone)])
        if not self.sent[tag]:
            self.finish(tag)

    def submit(self, tag):
        self.sent[tag] = self.admitted.pop(tag)
        send(self.ledger, tag, jobs=self.sent[tag], now=self.now)

    def finish(self, tag):
        """Let it end; its slice is cleaned up where nothing else of it is known."""
        del self.sent[tag]
        self.ledger.record_ended(tag, now=self.now)
        dag_id, tranche, run = tag.split("/")[:3]
        if not any(
            other.startswith(f"{dag_id}/{tranche}/{run}/") for other in {**self.sent, **self.admitted}
        ):
            self.ledger.leave_place(dag_id, tranche, int(run), now=self.now)

    @invariant()
    def no_limit_is_exceeded(self):
        flying = {**self.admitted, **self.sent}
        groups = [(flying, 12), (flying, 18)]
        groups.append(({tag: jobs for tag, jobs in flying.items() if tag.startswith("demo.y")}, 6))
        for jobs, most in groups:
            assert sum(jobs.values()) <= most or len(jobs) == 1
        for dag_id, (_, slices_limit) in self.own.items():
            runs = {tag.split("/")[2] for tag, jobs in flying.items() if jobs and tag.startswith(dag_id)}
            assert len(runs) <= slices_limit


def test_whatever_happens_no_limit_is_exceeded_and_everybody_gets_in(tmp_path):
    template = tmp_path / "template.db"
    with Ledger(f"sqlite:///{template}") as ledger:
        ledger.upgrade()
        for name, first in (("z", 1000), ("y", 3000)):
            plan = campaign_plan(name, runs=(first, first + 99))
            ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=4, now=NOW)
    machine = type("Machine", (Admission,), {"template": template})
    test = machine.TestCase
    test.settings = settings(
        max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    test().runTest()
