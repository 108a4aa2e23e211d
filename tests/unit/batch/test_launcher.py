"""Exactly once by an experiment's own launcher: several clusters, lies, and a death between two of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from include.batch.launcher import LauncherSubmitter, extra_lines
from include.batch.pool import LauncherCall, Submitter
from include.batch.requirements import REQUEUE_LINES, REQUIREMENT
from include.batch.steady_time import SteadyTime, steady_time
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError, MissingTool, SubmissionAmbiguous, SubmissionRefused
from tests.unit.batch.conftest import AP1, TAG, Time, World

AP2 = "ap2@fake"
HALVES = ((AP1, 1, 2), (AP2, 1, 2))


@dataclass
class LaunchWorld(World):
    """One submission of four jobs by a launcher."""

    def submitter(self, mode: str) -> Submitter:
        settings = {"MODE": mode, "POOL": str(self.folder / "pool.json"), "LATE_S": str(self.late_s)}
        return LauncherSubmitter(environment={**os.environ, **settings})

    @property
    def work(self) -> Path:
        return Path(self.row.work_dir)

    def remove(self, *clusters: tuple[str, int]) -> None:
        for schedd, cluster in clusters:
            self.pool.remove(schedd, [cluster], reason="by hand")

    def says(self, mode: str) -> str:
        """Return what a person is told; nothing is recorded."""
        with pytest.raises(LedgerError) as caught:
            self.run(mode)
        assert self.row.state is SubmissionState.INTENDED
        assert self.row.clusters == ()
        return str(caught.value)


@pytest.fixture
def world(world: World) -> LaunchWorld:
    script = world.folder / "launch"
    program = Path(__file__).with_name("launcher_program.py")
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    script.chmod(0o755)
    call = LauncherCall(
        script=str(script),
        arguments=("--run", "1000"),
        folder=world.row.work_dir,
        job_file=f"{world.row.work_dir}/job.json",
        variables=(("PRODSYS_RUN", "1000"), ("PRODSYS_STAGE", "gen")),
    )
    return LaunchWorld(
        folder=world.folder,
        pool=world.pool,
        ledger=world.ledger,
        clock=world.clock,
        limits=world.limits,
        request=replace(world.request, jobs=4, launcher=call),
    )


def test_two_clusters_on_two_schedds_are_one_submission(world: LaunchWorld) -> None:
    row = world.run("two")
    assert (row.state, row.clusters, row.first_units) == (SubmissionState.SUBMITTED, HALVES, (0, 2))
    assert "Use job id 1.0@ap2@fake" in row.message
    (world.folder / "pool.started").unlink()
    assert world.run("two") == row
    assert not world.started()


def test_one_cluster(world: LaunchWorld) -> None:
    row = world.run("one")
    assert (row.clusters, row.first_units) == (((AP1, 1, 4),), ())


def test_the_exit_code_does_not_count_where_the_jobs_are_there(
    world: LaunchWorld, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert world.run("exit3").clusters == HALVES
    assert "the launcher ended with exit code 3; its jobs are counted in the pool" in caplog.text


@pytest.mark.parametrize("mode", ["silent", "two"])
def test_what_a_lost_task_left_is_adopted(world: LaunchWorld, mode: str) -> None:
    for cluster, first in ((AP1, 0), (AP2, 2)):
        world.pool.submit(cluster, TAG, 2, first_unit=first)
    row = world.run(mode)
    assert (row.clusters, row.first_units) == (HALVES, (0, 2))
    assert not world.started()


def test_a_launcher_that_says_nothing_is_believed_by_its_jobs(world: LaunchWorld) -> None:
    assert world.run("silent").clusters == HALVES
    assert "adopted" in world.row.message


def test_a_refusal_is_refused_only_after_the_grace(world: LaunchWorld) -> None:
    began = world.clock.at
    with pytest.raises(SubmissionRefused, match=r"the launcher refused: .*on hold"):
        world.run("refuse")
    assert world.clock.at >= began + world.limits.grace_s
    assert world.row.state is SubmissionState.REFUSED
    assert world.run("two").clusters == HALVES


def test_nothing_said_and_nothing_there_is_unknown_and_the_next_try_launches(world: LaunchWorld) -> None:
    with pytest.raises(SubmissionAmbiguous, match="the launcher named no job id"):
        world.run("nothing")
    assert world.row.state is SubmissionState.INTENDED
    world.pool.set_schedd(AP2, up=False)
    (world.folder / "pool.started").unlink()
    with pytest.raises(SubmissionAmbiguous, match="ap2@fake"):
        world.run("two")
    assert not world.started()
    world.pool.set_schedd(AP2, up=True)
    assert world.run("two").clusters == HALVES


def test_a_schedd_that_left_since_the_last_try_stops_everything(world: LaunchWorld) -> None:
    world.limits = replace(world.limits, timeout_s=6)
    world.says("hang")
    world.remove((AP1, 1))
    (world.folder / "pool.started").unlink()
    world.pool.set_schedd(AP2, listed=False)
    with pytest.raises(SubmissionAmbiguous, match=r"schedd ap2@fake, which .* is not in the collector"):
        world.run("two")
    assert not world.started()
    world.pool.set_schedd(AP2, listed=True)
    assert [jobs for _, _, jobs in world.run("two").clusters] == [2, 2]


def test_an_id_of_a_schedd_that_nobody_knows_stops_everything(world: LaunchWorld) -> None:
    for mode in ("elsewhere", "two"):
        with pytest.raises(SubmissionAmbiguous, match=r"7@ap9@fake.*\n?.*then remove .*launcher\.out"):
            world.run(mode)
    (world.work / "launcher.out").unlink()
    assert world.run("two").clusters == HALVES


def test_an_id_that_is_nowhere_stops_everything(world: LaunchWorld) -> None:
    assert "77@ap1@fake is in no queue and no history" in world.says("lost")
    assert re.search(r"nowhere, remove .*launcher\.out", world.says("two"))
    assert len(world.clusters()) == 0


@pytest.mark.parametrize(
    ("mode", "there", "lacks"),
    [
        ("short", "1@ap1@fake has 2 jobs for units 0-1", "no job for units 2-3"),
        ("overlap", "2@ap1@fake has 2 jobs for units 0-1", "several jobs for units 0-1"),
        ("more", "2@ap1@fake has 1 job for units 4", "jobs that nobody asked for, for units 4"),
        ("untagged", "without the tag: 1@ap1@fake has 4 jobs", "leave JOBSUB_EXTRA_LINES"),
        ("half-untagged", "without the tag: 2@ap1@fake has 2 jobs", "leave JOBSUB_EXTRA_LINES"),
        ("dag", "without the tag: 1@ap1@fake is a DAGMan job", "--maxConcurrent, --dag and"),
    ],
)
def test_what_is_not_the_submission_is_told_and_launched_anew_once_removed(
    world: LaunchWorld, mode: str, there: str, lacks: str
) -> None:
    for attempt in (mode, "two"):
        said = world.says(attempt)
        assert there in said
        assert lacks in said
        assert re.search(r"jobsub_rm -J 1@ap1@fake\b", said)
    last = len(world.pool._jobs(AP1))
    world.remove(*((schedd, cluster) for schedd in (AP1, AP2) for cluster in range(1, last + 1)))
    row = world.run("two")
    assert [jobs for _, _, jobs in row.clusters] == [2, 2]
    assert all(
        ad.status is JobStatus.IDLE
        for schedd, cluster, _ in row.clusters
        for ad in world.pool.ads(schedd, [cluster])
    )


def test_a_cluster_without_the_tag_beside_a_whole_submission(world: LaunchWorld) -> None:
    said = world.says("extra")
    assert "without the tag: 2@ap1@fake has 1 job" in said
    assert "jobsub_rm -J 2@ap1@fake, then clear the task" in said
    world.remove((AP1, 2))
    (world.folder / "pool.started").unlink()
    assert world.run("two").clusters == HALVES
    assert not world.started()


def test_the_cluster_that_is_too_much_is_removed_and_the_rest_recorded(world: LaunchWorld) -> None:
    world.says("overlap")
    world.remove((AP1, 2))
    world.pool.submit(AP2, TAG, 2, first_unit=2)
    (world.folder / "pool.started").unlink()
    row = world.run("two")
    assert (row.clusters, row.first_units) == (HALVES, (0, 2))
    assert not world.started()


def test_a_part_may_be_kept_if_a_person_says_so(world: LaunchWorld) -> None:
    said = world.says("short")
    file = re.search(r"touch (.*/adopt),", said)
    assert file
    Path(file[1]).touch()
    (world.folder / "pool.started").unlink()
    assert world.run("two").clusters == ((AP1, 1, 2),)
    assert not world.started()


def test_a_part_beside_jobs_without_the_tag_is_never_kept(world: LaunchWorld) -> None:
    assert "adopt" not in world.says("half-untagged")
    (world.work / "adopt").touch()
    world.says("two")


def test_a_launcher_that_hangs_between_its_calls_is_ended_and_told(world: LaunchWorld) -> None:
    world.limits = replace(world.limits, timeout_s=6)
    assert "1@ap1@fake has 2 jobs for units 0-1" in world.says("hang")
    assert len(world.clusters()) == 1


class RealTime(Time):
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.2))

    def steady(self) -> SteadyTime:
        return steady_time()


def _first_try(world: LaunchWorld, mode: str) -> None:
    os.setpgid(0, 0)
    world.run(mode)


def _killed_after_the_first_call(world: LaunchWorld, mode: str) -> None:
    world.clock = RealTime()
    process = multiprocessing.get_context("fork").Process(target=_first_try, args=(world, mode))
    process.start()
    end = time.monotonic() + 20
    while not world.clusters():
        time.sleep(0.02)
        assert time.monotonic() < end
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


def test_the_next_try_waits_for_a_launcher_that_outlives_its_task(world: LaunchWorld) -> None:
    world.late_s = 2
    _killed_after_the_first_call(world, "late")
    row = world.run("two")
    assert (row.clusters, row.first_units) == (((AP1, 1, 2), (AP1, 2, 2)), (0, 2))
    assert len(world.clusters()) == 2


def test_task_and_launcher_killed_between_two_calls(world: LaunchWorld) -> None:
    world.limits = replace(world.limits, timeout_s=6, grace_s=1)
    _killed_after_the_first_call(world, "hang")
    assert "1@ap1@fake has 2 jobs for units 0-1" in world.says("two")
    assert len(world.clusters()) == 1


def test_what_the_launcher_is_told(world: LaunchWorld) -> None:
    script = Path(world.request.launcher.script)  # type: ignore[union-attr]
    shutil.copy(script, world.folder / "real")
    script.write_text('#!/bin/sh\nenv > env; pwd > pwd; echo "$@" > arguments; exec "${0%/*}/real" "$@"\n')
    world.request = replace(
        world.request,
        role="Production",
        files=("/data/job.json", "/data/gen.py"),
        options=("--onsite", "-c", "A"),
        excluded_machines=("wn2.x", "wn1.x"),
        excluded_sites=("US_BNL",),
    )
    world.run("two")
    told: dict[str, Any] = dict(
        line.split("=", 1) for line in (world.work / "env").read_text().splitlines() if "=" in line
    )
    wanted = {
        "PRODSYS_TAG": TAG,
        "PRODSYS_JOBS": "4",
        "PRODSYS_JOB_FILE": f"{world.work}/job.json",
        "PRODSYS_WORKER": "/opt/prodsys_job.py",
        "PRODSYS_GROUP": "demo",
        "PRODSYS_ROLE": "Production",
        "PRODSYS_MEMORY_MB": "500",
        "PRODSYS_DISK_KB": "1024",
        "PRODSYS_CPUS": "1",
        "PRODSYS_LIFETIME_S": "600",
        "PRODSYS_RUN": "1000",
        "PRODSYS_STAGE": "gen",
    }
    assert {name: told[name] for name in wanted} == wanted
    assert Path(told["PRODSYS_FILES"]).read_text().splitlines() == ["/data/job.json", "/data/gen.py"]
    assert Path(told["PRODSYS_OPTIONS"]).read_text().splitlines() == [
        "--append_condor_requirements",
        f"(A) && {REQUIREMENT}",
        "--onsite",
    ]
    assert told["JOBSUB_EXTRA_LINES"].split(",") == [
        f'+ProdsysTag="{TAG}"',
        *REQUEUE_LINES,
        '+ProdsysExcludedHosts="wn1.x wn2.x"',
        '+ProdsysExcludedSites="US_BNL"',
    ]
    assert (world.work / "pwd").read_text() == f"{world.work}\n"
    assert (world.work / "arguments").read_text() == "--run 1000\n"
    assert (world.work / "command").read_text() == f"{script} --run 1000\n"


def test_lines_of_the_site_are_kept(world: LaunchWorld) -> None:
    submitter = LauncherSubmitter(environment={"JOBSUB_EXTRA_LINES": "+Site=1"})
    world.work.mkdir()
    variables = submitter._variables(world.request, world.request.launcher)  # type: ignore[arg-type]
    assert variables["JOBSUB_EXTRA_LINES"].split(",")[:2] == ["+Site=1", f'+ProdsysTag="{TAG}"']


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tag": "demo.z/a,b/001000/gen/recovery-0"}, "JOBSUB_EXTRA_LINES cannot carry"),
        ({"tag": 'demo.z/a"b'}, "JOBSUB_EXTRA_LINES cannot carry"),
        ({"excluded_machines": ("a b",)}, "no node or site"),
        ({"options": ("--maxConcurrent", "5")}, "DAG"),
        ({"options": ("--OS", "a\nb")}, "line break"),
        ({"launcher": None}, "has no launcher"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(world: LaunchWorld, change: dict[str, Any], says: str) -> None:
    with pytest.raises(SubmissionRefused, match=says):
        LauncherSubmitter(environment={}).command(replace(world.request, **change))


def test_no_line_has_a_comma(world: LaunchWorld) -> None:
    many = replace(world.request, excluded_machines=tuple(f"wn{n}.x" for n in range(99)))
    assert not [line for line in extra_lines(many) if "," in line]


def test_a_launcher_that_is_not_there_leaves_no_doubt(world: LaunchWorld) -> None:
    script = Path(world.request.launcher.script)  # type: ignore[union-attr]
    script.chmod(0o644)
    with pytest.raises(MissingTool, match="nothing was submitted"):
        world.run("two")
    script.chmod(0o755)
    began = world.clock.at
    assert world.run("two").clusters == HALVES
    assert world.clock.at == began
