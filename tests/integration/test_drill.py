"""Faults injected into real campaigns: each is told apart, and what can be recovered is, exactly once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedded.pool_config import Node
from include.batch.package import worker_program
from include.campaign.states import ActionKind, OutputState
from include.joblogs.event_log import EventCode
from include.joblogs.job_history import histories
from include.triage.classify import Triage
from include.triage.replay import replay
from tests.integration.deployments import Site, condor, make_drill_files, run_site
from tests.integration.test_campaign import failed_tasks, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.bookkeeping.records import DiagnosisRecord, Submission
    from include.joblogs.job_history import JobHistory

LIMIT_S = 600.0
REPOSITORY = "drill.example.org"
SOUND = ("wn1.pool", "wn2.pool")
STALE, HOLE = "wn3.pool", "wn4.pool"
TOLD_WITHIN_S = 20.0
"""Waiting jobs know of an exclusion within this time, on a busy machine too."""
QUIET = (0, 9, 13)
"""Subruns of `faults` that do nothing wrong by themselves."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment with two sound nodes, one with a stale CVMFS, and one that eats jobs."""
    folder = tmp_path_factory.mktemp("drill")
    for name, revision in (("fresh", 7), ("stale", 3)):
        repository = folder / name / REPOSITORY
        repository.mkdir(parents=True)
        (repository / "setup.sh").write_text("a file\n", encoding="utf-8")
        os.setxattr(repository, "user.revision", str(revision).encode())
    sound = (("PRODSYS_CVMFS_ROOT", str(folder / "fresh")),)
    nodes = (
        Node(name="wn1", cpus=6, job_environment=sound),
        Node(name="wn2", cpus=6, job_environment=sound),
        Node(name="wn3", cpus=1, job_environment=(("PRODSYS_CVMFS_ROOT", str(folder / "stale")),)),
        Node(name="wn4", cpus=1, black_hole=True),
    )
    state = folder / "state"
    make_drill_files(state / "area" / "drill", {1: 14, 11: 20, 21: 20, 31: 60})
    yield from run_site(state, nodes=nodes)


def submissions(site: Site, dag_id: str, run_id: str) -> list[Submission]:
    return [row for row in site.ledger.submissions(dag_id, run_id, stage="gen") if row.clusters]


def first_submission(site: Site, dag_id: str, run_id: str) -> Submission:
    wait_until(lambda: submissions(site, dag_id, run_id), f"the submission of {dag_id}")
    return submissions(site, dag_id, run_id)[0]


def event_logs(site: Site, submission: Submission) -> list[JobHistory]:
    """Return what the cluster's event log tells of each job."""
    schedd, cluster, _ = submission.clusters[0]
    named = condor(site, "condor_history", "-name", schedd, str(cluster), "-limit", "1", "-af", "UserLog")
    return list(histories(named.strip()).values())


def starts_on(site: Site, submission: Submission, node: str) -> list[float]:
    """Return when jobs were started on a node, in epoch seconds."""
    starts = [
        (host, time)
        for job in event_logs(site, submission)
        for host, time in zip(job.hosts, (job.started, *(again.time for again in job.restarts)), strict=True)
    ]
    return [time for host, time in starts if host.endswith(f"@{node}") and time is not None]


def test_a_node_that_eats_jobs_is_excluded_while_the_others_run(site: Site) -> None:
    site.api.wait_for_dag("drill.hole", limit_s=120)
    run_id = site.api.trigger("drill.hole")

    def excluded() -> bool:
        return HOLE in {each.name for each in site.ledger.exclusions(0.0, all=True)}

    wait_until(excluded, f"the exclusion of {HOLE}", LIMIT_S)
    (site.deployment.state / "area" / "drill" / "hole-found").touch()
    assert site.api.follow("drill.hole", run_id, limit_s=LIMIT_S) == "success"
    jobs = [job for row in submissions(site, "drill.hole", run_id) for job in site.ledger.jobs(row.tag)]
    assert not [job.process for job in jobs if (job.host or "").endswith(f"@{HOLE}")], "lost to the node"
    (exclusion,) = site.ledger.exclusions(0.0, all=True)
    eaten = starts_on(site, submissions(site, "drill.hole", run_id)[0], HOLE)
    # Not one job ended there: each that it ate went back into the queue at once, and none came after.
    assert len(eaten) >= 3
    assert max(eaten) < exclusion.since + TOLD_WITHIN_S
    log = site.api.log("drill.hole", run_id, "slice.gen.wait", map_index=0)
    assert f"node {HOLE} is excluded until" in log
    (act,) = [act for act in site.ledger.actions() if act.kind is ActionKind.EXCLUDE]
    assert act.detail.startswith(f"node {HOLE}: ")


def test_bad_code_stops_at_once_with_one_cause_and_blames_no_node(site: Site) -> None:
    site.api.wait_for_dag("drill.badcode", limit_s=120)
    run_id = site.api.trigger("drill.badcode")

    def question() -> dict[str, Any] | None:
        return site.api.question("drill.badcode", run_id, "slice.gen.recover", map_index=0)

    wait_until(question, "the question", LIMIT_S)
    asked = question() or {}
    assert "KeyError" in asked["body"]
    assert "12 of 20" in asked["body"]
    rows = site.ledger.diagnoses(dag_id="drill.badcode", tranche=run_id, open_only=True)
    assert Counter(row.diagnosis.category for row in rows).most_common(1)[0] == ("code", 8)
    assert {each.name for each in site.ledger.exclusions(0.0, all=True)} <= {HOLE}
    site.api.answer("drill.badcode", run_id, "slice.gen.recover", map_index=0, option="Stop")
    assert site.api.follow("drill.badcode", run_id, limit_s=LIMIT_S) == "failed"
    assert [act.kind for act in site.ledger.actions("drill.badcode", run_id)][-1] is ActionKind.STOP


def test_a_campaign_above_its_threshold_needs_nobody(site: Site) -> None:
    site.api.wait_for_dag("drill.mostly", limit_s=120)
    run_id = site.api.trigger("drill.mostly")
    assert site.api.follow("drill.mostly", run_id, limit_s=LIMIT_S) == "success"
    log = site.api.log("drill.mostly", run_id, "slice.gen.recover", map_index=0)
    assert "nothing needs doing: 19 of 20 subruns accepted (95.0 %)" in log
    assert len(submissions(site, "drill.mostly", run_id)) == 1
    assert site.api.question("drill.mostly", run_id, "slice.gen.recover", map_index=0) is None
    assert site.ledger.actions("drill.mostly") == []


def evict_a_running_job(site: Site, submission: Submission, processes: tuple[int, ...]) -> int:
    """Vacate one of these processes while it runs on a sound node, and return its number."""
    schedd, cluster, _ = submission.clusters[0]

    def running() -> list[int]:
        """By the event log: in the queue a job runs as soon as it has a shadow."""
        log = condor(site, "condor_q", "-name", schedd, str(cluster), "-limit", "1", "-af", "UserLog").strip()
        return [
            job.process
            for job in (histories(log).values() if log else ())
            if job.process in processes
            and job.last_code == EventCode.EXECUTE
            and job.hosts[-1].rpartition("@")[2] in SOUND
        ]

    process = wait_until(running, f"one of the jobs {processes} to run", LIMIT_S)[0]
    condor(site, "condor_vacate_job", "-name", schedd, f"{cluster}.{process}")
    return process


def flip_a_byte(site: Site, submission: Submission) -> int:
    """Change a byte of the first file that a quiet subrun's job publishes; return the subrun."""
    area, cluster = (
        site.deployment.state / "area" / "outstage" / "drill" / "faults",
        submission.clusters[0][1],
    )

    def published() -> list[tuple[int, Path]]:
        return [
            (subrun, file) for subrun in QUIET for file in area.glob(f"gen/*/*/{cluster}.{subrun}.*/*.root")
        ]

    wait_until(published, "a file of a quiet subrun", LIMIT_S)
    subrun, path = published()[0]
    with path.open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        byte = file.read(1)
        file.seek(-200, os.SEEK_END)
        file.write(bytes([byte[0] ^ 0xFF]))
    return subrun


def run_by_hand(site: Site, submission: Submission, process: int) -> None:
    """Run a process of a submission once more outside the pool: an original that comes late."""
    schedd, cluster, _ = submission.clusters[0]
    scratch = site.deployment.state / "by-hand"
    scratch.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CLUSTER": str(cluster),
        "PROCESS": str(process),
        "JOBSUBJOBID": f"{cluster}.{process}@{schedd}",
        "CONDOR_DIR_INPUT": str(Path(__file__).parent / "specs" / "drill"),
        "_CONDOR_SCRATCH_DIR": str(scratch),
        "PRODSYS_CVMFS_ROOT": str(site.deployment.state.parent / "fresh"),
    }
    command = [sys.executable, worker_program(), "run", str(Path(submission.work_dir) / "job.json")]

    def done() -> bool:
        # Its script fails the first time that it runs at all, which may be here.
        ended = subprocess.run(command, env=environment, cwd=scratch, check=False, timeout=60)
        return ended.returncode == 0

    assert done() or done()


def recovered(site: Site, run_id: str, subrun: int) -> bool:
    """Whether a recovery was sent for the subrun."""
    return any(
        unit.first_subrun == subrun
        for row in submissions(site, "drill.faults", run_id)
        if row.recovery
        for unit in row.units
    )


@pytest.fixture(scope="module")
def drill(site: Site) -> tuple[Site, str, dict[str, int]]:
    """The campaign with a job of each fault, run to its end; and the subruns that were interfered with."""
    site.api.wait_for_dag("drill.faults", limit_s=120)
    for each in site.ledger.exclusions(time.time()):
        site.ledger.lift(each.kind, each.name, by="a test", now=time.time())
    run_id = site.api.trigger("drill.faults")
    first = first_submission(site, "drill.faults", run_id)
    chosen = {"evicted": evict_a_running_job(site, first, (10, 12)), "flipped": flip_a_byte(site, first)}
    wait_until(lambda: recovered(site, run_id, 11), "a recovery of subrun 11", LIMIT_S)
    run_by_hand(site, first, 11)
    state = site.api.follow("drill.faults", run_id, limit_s=LIMIT_S)
    assert state == "success", failed_tasks(site, "drill.faults", run_id)
    # Another look at everything, as an operator may take.
    site.api.clear("drill.faults", run_id, ["slice.gen.check"])
    assert site.api.follow("drill.faults", run_id, limit_s=LIMIT_S) == "success"
    return site, run_id, chosen


def told(site: Site, run_id: str) -> dict[int, list[DiagnosisRecord]]:
    """Return subrun → what triage said of its jobs, over all submissions."""
    found: dict[int, list[DiagnosisRecord]] = defaultdict(list)
    for each in site.ledger.diagnoses(dag_id="drill.faults", tranche=run_id, stage="gen"):
        found[each.diagnosis.first_subrun].append(each.diagnosis)
    return found


def states(site: Site, run_id: str) -> dict[int, Counter[OutputState]]:
    """Return subrun → its outputs by state."""
    found: dict[int, Counter[OutputState]] = defaultdict(Counter)
    for row in submissions(site, "drill.faults", run_id):
        for output in site.ledger.outputs(row.tag):
            # Cleanup takes nothing here: the outputs are kept.
            found[output.first_subrun][output.state] += 1
    return found


def test_every_subrun_is_accepted_exactly_once(drill: tuple[Site, str, Any]) -> None:
    site, run_id, _ = drill
    accepted = {subrun: count[OutputState.ACCEPTED] for subrun, count in states(site, run_id).items()}
    assert accepted == dict.fromkeys(range(14), 1)
    (merged,) = site.ledger.accepted_outputs(experiment="drill", run=1, stage="merge_gen")
    assert (merged.first_subrun, merged.last_subrun, merged.events) == (0, 13, 140)


def test_only_what_had_failed_was_sent_again(drill: tuple[Site, str, Any]) -> None:
    site, run_id, _ = drill
    first, *recoveries = submissions(site, "drill.faults", run_id)
    assert len(first.units) == 14
    again = {unit.first_subrun for row in recoveries for unit in row.units}
    assert again <= set(told(site, run_id))


@pytest.mark.parametrize(
    ("subrun", "named", "cause", "evidence"),
    [
        (1, "input/art-file-open", "art could not open an input file", r"/job\.log:\d+: ---- FileOpenError"),
        (2, "node/bus-error", "SIGBUS: the node wn", r"/job\.log:\d+: .*signal 7"),
        (3, "batch/killed", "SIGKILL ended it", r"/job\.log:\d+: .*signal 9"),
        (
            5,
            "time/held-time",
            "longer than it was allowed to: ",
            r"held: .* of 40 s \[triage:held-time",
        ),
        (
            6,
            "output/output-missing",
            "an output of the spec is not there",
            r"/report\.json: .*there is no file",
        ),
        (7, "data/output-damaged", "ROOT file is cut: ", r"_00000007\.root$"),
        (8, "data/wrong-entries", "wrong number of entries: 9, expected 10", r"_00000008\.root$"),
        (11, "unclassified/", "exit code 1 from drill_job.py", r"/job\.log:\d+: .*quiet 1"),
    ],
)
def test_each_fault_is_told_with_its_evidence(
    drill: tuple[Site, str, Any], subrun: int, named: str, cause: str, evidence: str
) -> None:
    site, run_id, _ = drill
    rows = told(site, run_id)[subrun]
    assert all(row.evidence and row.cause and row.advice for row in rows), rows
    fitting = [row for row in rows if f"{row.category}/{row.rule}" == named]
    assert any(cause in row.cause and re.search(evidence, row.evidence) for row in fitting), rows


def test_a_flipped_byte_is_found(drill: tuple[Site, str, Any]) -> None:
    site, run_id, chosen = drill
    fitting = [row for row in told(site, run_id)[chosen["flipped"]] if row.rule == "wrong-checksum"]
    assert fitting
    assert all("wrong sha256" in row.cause and row.evidence.endswith(".root") for row in fitting)


@pytest.mark.parametrize(
    ("kind", "cause", "evidence"),
    [
        # Half as much again, or a quarter more than it was seen to use.
        (ActionKind.RELEASE, r"with [3-9]\d\d MB: HTCondor held it for memory: it asked for 200 MB", "26/1"),
        (ActionKind.REMOVE, "HTCondor held it for running longer than it was allowed to", "26/4"),
    ],
)
def test_a_held_job_is_acted_on_by_its_class(
    drill: tuple[Site, str, Any], kind: ActionKind, cause: str, evidence: str
) -> None:
    site, run_id, _ = drill
    acts = site.ledger.actions("drill.faults", run_id, stage="gen", kind=kind)
    told = rf"{cause}.*\(HoldReasonCode={evidence} of "
    assert any(re.search(told, act.detail) for act in acts), acts


def test_a_job_that_ran_twice_is_accepted_once(drill: tuple[Site, str, Any]) -> None:
    site, run_id, chosen = drill
    (job,) = [
        job
        for job in site.ledger.jobs(submissions(site, "drill.faults", run_id)[0].tag)
        if job.process == chosen["evicted"]
    ]
    assert job.starts >= 2
    history = event_logs(site, submissions(site, "drill.faults", run_id)[0])
    (why,) = [each.why() for each in history if each.process == chosen["evicted"]]
    assert "because it was evicted (event 004)" in why
    assert states(site, run_id)[chosen["evicted"]][OutputState.ACCEPTED] == 1


def test_a_late_original_is_a_duplicate_and_is_explained(drill: tuple[Site, str, Any]) -> None:
    site, run_id, _ = drill
    found = states(site, run_id)[11]
    assert (found[OutputState.ACCEPTED], found[OutputState.DUPLICATE]) == (1, 1)
    assert any(
        row.category == "duplicate" and "more than once" in row.cause for row in told(site, run_id)[11]
    )


def test_a_node_with_a_stale_cvmfs_is_refused_and_known(drill: tuple[Site, str, Any]) -> None:
    site, run_id, _ = drill
    rows = [row for rows in told(site, run_id).values() for row in rows if row.host == STALE]
    assert rows
    assert all(row.category == "cvmfs" and REPOSITORY in f"{row.cause} {row.evidence}" for row in rows), rows
    (facts,) = site.ledger.node_facts(host=STALE)
    assert dict(facts.cvmfs) == {REPOSITORY: 3}
    (facts,) = site.ledger.node_facts(host=SOUND[0])
    assert dict(facts.cvmfs) == {REPOSITORY: 7}


def test_a_replay_by_the_same_rules_changes_nothing(drill: tuple[Site, str, Any]) -> None:
    site, run_id, _ = drill
    failed = [
        each
        for each in site.ledger.diagnoses(dag_id="drill.faults", tranche=run_id)
        if each.diagnosis.category != "duplicate"
    ]
    found = replay(Triage.load(), site.ledger, failed)
    assert found.judged >= 5
    assert [(change.before, change.after) for change in found.changes] == []
