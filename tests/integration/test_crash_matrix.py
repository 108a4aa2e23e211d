"""Whatever dies at whichever step: no subrun is lost or doubled, no cluster is submitted twice.

PRODSYS_CRASH_SEED chooses which victim dies at which point first, PRODSYS_CRASH_ROUNDS how often each point's
turn comes: as many rounds as there are victims make every pair.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uproot

from embedded.airflow_api import FINAL
from include.campaign.states import OutputState
from include.crash_points import POINTS
from tests.integration.crash_victims import TASK, TASK_SOON, VICTIMS, Victims, wait_for_signal
from tests.integration.deployments import Site, condor, make_database, make_drill_files, run_site
from tests.integration.test_campaign import failed_tasks
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

DAG, SCHEDD = "drill.crash", "ap1.pool"
SUBRUNS, EVENTS = 4, 10
SEED = int(os.environ.get("PRODSYS_CRASH_SEED", "1"))
ROUNDS = int(os.environ.get("PRODSYS_CRASH_ROUNDS", "1"))
LIMIT_S = 1800.0 * ROUNDS
"""Far more than it takes, also on a machine that does much else."""
pytestmark = pytest.mark.timeout(LIMIT_S + 900)
ARMED_AT_ONCE, RUNS_AT_ONCE = 8, 3
"""Many points are armed at a time, since a dag_run passes those that are not for nothing."""
HOOK = Path(__file__).parent / "crash_hook"
FURTHER_STAGE = """\
stages:
  early:
    script: drill_job.py
    output: "dts.tests.early.{run:06d}_{subrun:08d}.root"
    environment: {DRILL: "{area}/drill"}
"""
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__PRODSYS__SUBMIT_TIMEOUT": "30",
    "AIRFLOW__PRODSYS__SUBMIT_GRACE": "3",
}
"""Deaths are noticed in a minute at most; what is merely starved on a busy machine must not count as dead."""


def cases(seed: int, rounds: int) -> list[tuple[str, str]]:
    """Return (point, victim): in a round each point once; in as many as there are victims each pair once."""
    rng = random.Random(seed)
    points, victims = list(POINTS), list(VICTIMS)
    rng.shuffle(points)
    rng.shuffle(victims)
    return [
        (point, victims[(place + number) % len(victims)])
        for number in range(rounds)
        for place, point in enumerate(points)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hook in the site's processes looks at."""
    made = tmp_path_factory.mktemp("crash")
    for name in ("armed", "fired", "done"):
        (made / name).mkdir()
    return made


@pytest.fixture(scope="module")
def crashed(folder: Path) -> Iterator[tuple[Site, dict[str, str], list[tuple[str, str]]]]:
    """The site after all crashes, how each dag_run ended, and the cases."""
    with running_postgres() as ledger, running_postgres() as metadata:
        state = folder / "site"
        make_drill_files(state / "area" / "drill", dict.fromkeys(range(101, 200), SUBRUNS))
        sites = run_site(
            state,
            ledger=make_database(ledger.url, "ledger", "psycopg"),
            metadata=make_database(metadata.url, "airflow", "psycopg2"),
            environment={"PYTHONPATH": str(HOOK), "PRODSYS_CRASH_DIR": str(folder), **SETTINGS},
        )
        site = next(sites)
        victims = Victims(site.deployment, ledger, metadata)
        try:
            chosen = cases(SEED, ROUNDS)
            yield site, Storm(site, victims, folder, chosen).rage(), chosen
        finally:
            victims.end()
            ledger.start()
            sites.close()  # type: ignore[attr-defined]


class Storm:
    """Arms one point after the other, kills, and brings up again, until all dag_runs have ended."""

    def __init__(self, site: Site, victims: Victims, folder: Path, chosen: list[tuple[str, str]]) -> None:
        self.site, self.victims, self.folder = site, victims, folder
        self.waiting, self.armed = list(chosen), dict[str, str]()
        self.runs: dict[str, str] = {}
        self.changed = self.one_more = False
        """Whether the spec was changed, and whether no dag_run has begun since."""
        self.end = time.monotonic() + LIMIT_S

    def rage(self) -> dict[str, str]:
        """Return dag_run → its final state."""
        self.site.api.wait_for_dag(DAG, limit_s=600)
        half = len(self.waiting) // 2
        while self.waiting or self.armed or self.one_more or not all(self.runs.values()):
            if time.monotonic() > self.end:
                pytest.fail(f"not over after {LIMIT_S:.0f} s: armed {self.armed}, runs {self.runs}")
            self.arm()
            self.strike()
            self.victims.revive()
            self.look()
            if not self.changed and len(self.waiting) + len(self.armed) <= half:
                self.change_the_spec()
                self.changed = self.one_more = True
            time.sleep(0.2)
        return self.runs

    def arm(self) -> None:
        """Keep some points armed."""
        while self.waiting and len(self.armed) < ARMED_AT_ONCE and self.waiting[0][0] not in self.armed:
            point, victim = self.waiting.pop(0)
            self.armed[point] = victim
            for name in ("fired", "done"):
                (self.folder / name / point).unlink(missing_ok=True)
            new = self.folder / f"{point}.new"
            new.write_text(victim, encoding="utf-8")
            new.rename(self.folder / "armed" / point)
            log.info("armed: %s at %s", victim, point)

    def change_the_spec(self) -> None:
        """Give the campaign a further stage; dag_runs that have begun keep their plan."""
        spec = self.site.deployment.specs / "drill" / "crash.yaml"
        old = spec.read_text(encoding="utf-8")
        new = spec.with_name("crash.new")
        new.write_text(old.replace("stages:\n", FURTHER_STAGE, 1), encoding="utf-8")
        new.rename(spec)

    def strike(self) -> None:
        """Kill the victims of the points that were reached."""
        for point in wait_for_signal(self.folder):
            victim = self.armed.pop(point)
            log.info("%s dies at %s", victim, point)
            if victim not in {TASK, TASK_SOON}:
                self.victims.kill(victim)
            (self.folder / "done" / point).touch()

    def look(self) -> None:
        """See how the dag_runs are; begin another while points are armed."""
        try:
            for run in self.site.api.get(f"/dags/{DAG}/dagRuns", limit=100)["dag_runs"]:
                run_id, state = run["dag_run_id"], run["state"]
                self.runs[run_id] = state if state in FINAL else ""
            more = self.armed or self.waiting or self.one_more
            if more and sum(not end for end in self.runs.values()) < RUNS_AT_ONCE:
                self.runs[self.site.api.trigger(DAG)] = ""
                self.one_more = False
        except httpx.HTTPError as error:
            log.info("the api-server is among the dead: %s", error)


def test_each_campaign_ends_by_itself(
    crashed: tuple[Site, dict[str, str], list[tuple[str, str]]],
) -> None:
    site, runs, chosen = crashed
    assert len(chosen) == len(POINTS) * ROUNDS
    failed = {run_id: failed_tasks(site, DAG, run_id) for run_id, state in runs.items() if state != "success"}
    assert not failed


def test_no_subrun_is_lost_or_accepted_twice(
    crashed: tuple[Site, dict[str, str], list[tuple[str, str]]],
) -> None:
    site, runs, _ = crashed
    for run_id in runs:
        (item,) = site.ledger.slices_of(DAG, run_id)
        for stage in ("gen", *({"early"} & set(stages_of(site, run_id)))):
            made = site.ledger.accepted_outputs(experiment="drill", run=item.run, stage=stage, removed=True)
            assert Counter(output.first_subrun for output in made) == Counter(range(SUBRUNS)), (run_id, stage)
        (merged,) = site.ledger.accepted_outputs(experiment="drill", run=item.run, stage="merge_gen")
        with uproot.open(f"{merged.path}:events") as tree:
            subruns = tree["subrun"].array(library="np").tolist()
        assert subruns == [subrun for subrun in range(SUBRUNS) for _ in range(EVENTS)], run_id


def stages_of(site: Site, run_id: str) -> list[str]:
    return [stage.name for stage in site.ledger.plan_of(DAG, run_id).stages]


def test_a_dag_run_that_had_begun_keeps_its_stages(
    crashed: tuple[Site, dict[str, str], list[tuple[str, str]]],
) -> None:
    site, runs, _ = crashed
    first, *_, last = sorted(runs, key=lambda run_id: site.ledger.slices_of(DAG, run_id)[0].run)
    assert "early" not in stages_of(site, first), "the spec got a further stage while it was under way"
    assert "early" in stages_of(site, last), "it began after that"
    for run_id in runs:
        sent = {submission.stage for submission in site.ledger.submissions(DAG, run_id)}
        assert sent == set(stages_of(site, run_id)), run_id


def test_no_file_of_a_subrun_that_is_not_merged_was_removed(
    crashed: tuple[Site, dict[str, str], list[tuple[str, str]]],
) -> None:
    site, runs, _ = crashed
    for run_id in runs:
        for submission in site.ledger.submissions(DAG, run_id):
            for output in site.ledger.outputs(submission.tag):
                gone = not Path(output.path).exists()
                assert gone == (output.state is OutputState.REMOVED), output


def test_no_cluster_was_submitted_twice(
    crashed: tuple[Site, dict[str, str], list[tuple[str, str]]],
) -> None:
    site, runs, _ = crashed
    found: dict[str, set[int]] = defaultdict(set)
    for program in ("condor_q", "condor_history"):
        words = condor(site, program, "-name", SCHEDD, "-af", "ProdsysTag", "ClusterId")
        for line in words.splitlines():
            tag, cluster = line.split()
            found[tag].add(int(cluster))
    known = {
        submission.tag: {cluster for _, cluster, _ in submission.clusters}
        for run_id in runs
        for submission in site.ledger.submissions(DAG, run_id)
    }
    assert dict(found) == known
    assert all(len(clusters) == 1 for clusters in found.values())
