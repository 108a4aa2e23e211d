"""The stand-in for jobsub, against a real pool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded.pool import PersonalPool

JOB = """\
#!/bin/sh
printf '<%s>\\n' "$@"
cat "$CONDOR_DIR_INPUT/data file"
echo "section=$JOBSUBJOBSECTION process=$PROCESS id=$JOBSUBJOBID dag=$DAGMANJOBID"
echo "experiment=$EXPERIMENT extra=$EXTRA"
touch "$CONDOR_DIR_OUT/done.$JOBSUBJOBSECTION"
sleep "${SLEEP:-0}"
exit "${CODE:-$JOBSUBJOBSECTION}"
"""

MEMORY_HOG = f"""\
#!/bin/sh
exec "{sys.executable}" -c 'import time; kept = b"x" * 300_000_000; time.sleep(300)'
"""
DISK_HOG = "#!/bin/sh\nhead -c 20000000 /dev/zero > big\nsleep 300\n"
EXCLUSION = (
    "stringListIMember(TARGET.Machine, MY.ProdsysExcludedHosts) =!= true"
    " && stringListIMember(TARGET.GLIDEIN_Site, MY.ProdsysExcludedSites) =!= true"
)


@pytest.fixture
def work(tmp_path: Path, pool: PersonalPool, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space in its name that holds a job and its input; submissions go there too."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "job.sh").write_text(JOB)
    (folder / "data file").write_text("hello\n")
    (folder / "out").mkdir()
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(folder / "submissions"))
    return folder


def jobsub(action: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a jobsub command as a person would."""
    return subprocess.run(
        [f"jobsub_{action}", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def submit(work: Path, *options: str, arguments: tuple[str, ...] = (), **variables: str) -> int:
    """Submit the job of `work` and return its cluster."""
    standard = [
        "-G",
        "demo",
        "-f",
        f"dropbox://{work}/data file",
        "-d",
        "OUT",
        str(work / "out"),
        "--disk",
        "1MB",
    ]
    done = jobsub(
        "submit", *standard, "--memory", "100", *options, f"file://{work}/job.sh", *arguments, **variables
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"=-\n\nUse job id (\d+)\.0@ap1\.pool to retrieve output\n=-", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1])


def wait(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Poll until the condition gives something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)
    return value


def queue(constraint: str, *attributes: str) -> list[Any]:
    """Ask the schedd for its queue with the Python bindings."""
    import htcondor2

    return list(htcondor2.Schedd().query(constraint, list(attributes)))


def history(constraint: str, *attributes: str) -> list[Any]:
    """Ask the schedd for its history with the Python bindings."""
    import htcondor2

    return list(htcondor2.Schedd().history(constraint, list(attributes), -1))


def test_twenty_jobs_run_with_their_files_and_tag(work: Path) -> None:
    tag = "demo.x/manual/1/gen/recovery-0"
    cluster = submit(
        work,
        "-N",
        "20",
        "--lines",
        f'+ProdsysTag="{tag}"',
        "-e",
        "EXTRA=a $(Cluster) 'b'",
        arguments=("a b", "$(X)", ""),
    )
    there = queue(f'ProdsysTag == "{tag}"', "ProcId")
    there += history(
        f'ProdsysTag == "{tag}"', "ProcId"
    )  # after the queue: one that ends meanwhile is in both
    assert {ad["ProcId"] for ad in there} == set(range(20))
    ended = wait(
        lambda: (
            (ads := history(f'ProdsysTag == "{tag}"', "ProcId", "ExitCode", "ClusterId"))
            and len(ads) == 20
            and ads
        )
    )
    assert {(ad["ClusterId"], ad["ProcId"]): ad["ExitCode"] for ad in ended} == {
        (cluster, n): n for n in range(20)
    }
    assert queue(f"ClusterId == {cluster}", "ProcId") == []
    assert sorted(path.name for path in (work / "out").iterdir()) == sorted(f"done.{n}" for n in range(20))
    [out] = (work / "submissions").glob(f"*/job.{cluster}.7.out")
    text = out.read_text()
    assert "<a b>\n<$(X)>\n<>\nhello\n" in text
    assert (
        f"section=7 process=7 id={cluster}.7@ap1.pool dag=\nexperiment=demo extra=a $(Cluster) 'b'\n" in text
    )
    assert re.search(r"job\.sh COMPLETED with exit status 7\n", text)


def test_the_ad_has_what_monitoring_reads(work: Path) -> None:
    cluster = submit(
        work,
        "--expected-lifetime",
        "short",
        "--subgroup",
        "pro",
        "--memory",
        "2GB",
        JOBSUB_EXTRA_LINES="+POMS_TASK=5",
    )
    names = (
        "Jobsub_Group JobsubJobId JobsubCmd AccountingGroup JOB_EXPECTED_MAX_LIFETIME RequestMemory POMS_TASK"
    )
    [ad] = wait(lambda: history(f"ClusterId == {cluster}", *names.split(), "MATCH_GLIDEIN_Site"))
    assert ad["JobsubJobId"] == f"{cluster}.0@ap1.pool"
    assert (ad["Jobsub_Group"], ad["JobsubCmd"], ad["MATCH_GLIDEIN_Site"]) == ("demo", "job.sh", "Embedded")
    assert ad["AccountingGroup"].startswith("group_demo.pro.")
    assert (ad["JOB_EXPECTED_MAX_LIFETIME"], ad["RequestMemory"], ad["POMS_TASK"]) == (10800, 2048, 5)


def test_hold_release_and_rm_by_job_id(work: Path) -> None:
    cluster = submit(work, "-N", "2", "-e", "SLEEP=300")
    jobs = f"ClusterId == {cluster}"

    def states() -> dict[int, int]:
        return {ad["ProcId"]: ad["JobStatus"] for ad in queue(jobs, "ProcId", "JobStatus")}

    assert jobsub("hold", "-J", f"{cluster}.1@ap1.pool", "-G", "demo").returncode == 0
    wait(lambda: states().get(1) == 5)
    [held] = queue(f"{jobs} && ProcId == 1", "HoldReasonCode")
    assert held["HoldReasonCode"] == 1
    listed = jobsub("q", "-G", "demo", "-J", f"{cluster}@ap1.pool").stdout
    assert "1 held" in listed
    assert jobsub("release", "-J", f"{cluster}.1@ap1.pool").returncode == 0
    wait(lambda: states().get(1) != 5)
    assert jobsub("rm", "-G", "demo", "--constraint", jobs).returncode == 0
    wait(lambda: states() == {})
    assert {ad["JobStatus"] for ad in wait(lambda: history(jobs, "JobStatus"))} <= {3, 4}


def test_the_owner_can_act_with_the_python_bindings(work: Path) -> None:
    import htcondor2

    cluster = submit(work, "-e", "SLEEP=300")
    schedd = htcondor2.Schedd()
    schedd.act(htcondor2.JobAction.Hold, f"ClusterId == {cluster}", ("stop it", 42))
    [ad] = wait(lambda: queue(f"ClusterId == {cluster} && JobStatus == 5", "HoldReason", "HoldReasonSubCode"))
    assert "stop it" in ad["HoldReason"]
    assert ad["HoldReasonSubCode"] == 42
    schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}", ("no longer wanted", 0))
    [removed] = wait(lambda: history(f"ClusterId == {cluster}", "JobStatus", "RemoveReason"))
    assert removed["JobStatus"] == 3
    assert "no longer wanted" in removed["RemoveReason"]


def hold_of(cluster: int) -> tuple[int, int, str]:
    """Wait until the cluster's job is held; return code, subcode and reason, and remove the job."""
    names = ("HoldReasonCode", "HoldReasonSubCode", "HoldReason")
    [ad] = wait(lambda: queue(f"ClusterId == {cluster} && JobStatus == 5", *names))
    jobsub("rm", "-J", f"{cluster}@ap1.pool")
    return ad["HoldReasonCode"], ad["HoldReasonSubCode"], ad["HoldReason"]


def test_a_job_over_its_lifetime_is_held_as_grid_pools_do(work: Path) -> None:
    cluster = submit(work, "--expected-lifetime", "2s", "-e", "SLEEP=300")
    code, subcode, reason = hold_of(cluster)
    assert (code, subcode) == (26, 4)
    assert re.fullmatch(r"SYSTEM_PERIODIC_HOLD Run Time/limit \d+/2", reason)
    logs = list((work / "submissions").glob(f"*/job.{cluster}.0.out"))
    assert all(log.read_text() == "" for log in logs), "a job held for wall time brings no log back"


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("allowed_execute_duration = 2", 47, "The job exceeded allowed execute duration of 00:02"),
        ("allowed_job_duration = 2", 46, "The job exceeded allowed job duration of 00:02"),
    ],
)
def test_a_job_over_its_own_durations_is_held(work: Path, line: str, code: int, reason: str) -> None:
    assert hold_of(submit(work, "--lines", line, "-e", "SLEEP=300")) == (code, 0, reason)


def test_a_job_over_its_memory_or_disk_is_held_by_the_schedd(work: Path) -> None:
    (work / "job.sh").write_text(MEMORY_HOG)
    memory = submit(work)
    (work / "job.sh").write_text(DISK_HOG)
    disk = submit(work, "--lines", "should_transfer_files = YES")
    code, subcode, reason = hold_of(memory)
    assert (code, subcode) == (26, 1)
    assert re.fullmatch(r"SYSTEM_PERIODIC_HOLD Memory/limit \d+/100", reason)
    code, subcode, reason = hold_of(disk)
    assert (code, subcode) == (26, 2)
    assert re.fullmatch(r"SYSTEM_PERIODIC_HOLD Disk/limit \d+/1024", reason)


def test_excluded_hosts_and_sites_get_no_job(work: Path) -> None:
    for attribute, value, where in (
        ("ProdsysExcludedHosts", "wn1.pool,wn2.pool", {"wn3.pool"}),
        ("ProdsysExcludedHosts", "", None),
        ("ProdsysExcludedSites", "embedded", set()),
    ):
        line = f'+{attribute} = "{value}"'
        cluster = submit(
            work, "-N", "6", "-c", EXCLUSION, "--lines", "+A = 1", "--lines", line, "-e", "CODE=0"
        )
        if where == set():
            # Each negotiation is a second; one that found no match is said in the ad.
            wait(lambda c=cluster: queue(f"ClusterId == {c} && LastRejMatchTime =!= undefined", "ProcId"))
            assert queue(f"ClusterId == {cluster} && JobStatus != 1", "ProcId") == []
            jobsub("rm", "-J", f"{cluster}@ap1.pool")
            continue
        ended = wait(
            lambda c=cluster: (
                (ads := history(f"ClusterId == {c}", "LastRemoteHost")) and len(ads) == 6 and ads
            )
        )
        hosts = {ad["LastRemoteHost"].partition("@")[2] for ad in ended}
        assert where is None or hosts == where


def test_max_concurrent_makes_a_dag_of_single_job_clusters(work: Path) -> None:
    dag = submit(work, "-N", "3", "--maxConcurrent", "2", "-e", "CODE=0", "--lines", '+ProdsysTag="dag-tag"')
    [ended] = wait(lambda: history(f"ClusterId == {dag}", "ExitCode", "JobUniverse"))
    assert (ended["JobUniverse"], ended["ExitCode"]) == (7, 0)
    nodes = wait(  # DAGMan learns of an end before the history does
        lambda: (
            len(ads := history(f"DAGManJobId == {dag}", "ClusterId", "ProcId", "ProdsysTag", "JobsubJobId"))
            == 3
            and ads
        )
    )
    assert len({ad["ClusterId"] for ad in nodes}) == 3
    assert {(ad["ProcId"], ad["ProdsysTag"]) for ad in nodes} == {(0, "dag-tag")}
    texts = [path.read_text() for path in (work / "submissions").glob("*/job.*.0.out")]
    sections = sorted(re.search(r"section=(\d) process=0 id=\S+ dag=(\d+)", text).groups() for text in texts)  # type: ignore[union-attr]
    assert sections == [(str(n), str(dag)) for n in range(3)]


def test_max_concurrent_above_the_jobs_is_one_plain_cluster(work: Path) -> None:
    cluster = submit(work, "-N", "2", "--maxConcurrent", "2")
    assert wait(lambda: len(history(f"ClusterId == {cluster}", "ProcId")) == 2)


def test_the_files_come_by_transfer_where_no_file_system_is_shared(work: Path) -> None:
    cluster = submit(work, "-N", "2", "--lines", "should_transfer_files = YES")
    ended = wait(lambda: (ads := history(f"ClusterId == {cluster}", "ExitCode")) and len(ads) == 2 and ads)
    assert {ad["ExitCode"] for ad in ended} == {0, 1}
    [out] = (work / "submissions").glob(f"*/job.{cluster}.1.out")
    assert "hello\n" in out.read_text()


def test_a_refused_submission_still_exits_with_0(work: Path) -> None:
    done = jobsub("submit", "-G", "demo", "--lines", "request_cpus = what ever(", f"file://{work}/job.sh")
    assert done.returncode == 0
    assert re.search(r"Error: condor_submit exited with failed status code \d+", done.stderr)
    assert "Use job id" not in done.stdout


def test_no_submit_only_writes_the_files(work: Path) -> None:
    done = jobsub("submit", "-G", "demo", "-n", f"file://{work}/job.sh")
    folder = re.search(r"^Submission files are in: (.*)$", done.stdout, re.MULTILINE)
    assert folder
    assert (Path(folder[1]) / "simple.cmd").is_file()


def test_a_signal_in_the_job_ends_up_in_its_exit_code(work: Path) -> None:
    (work / "job.sh").write_text("#!/bin/sh\nkill -SEGV $$\n")
    cluster = submit(work)
    [ad] = wait(lambda: history(f"ClusterId == {cluster}", "ExitCode", "ExitBySignal"))
    assert (ad["ExitBySignal"], ad["ExitCode"]) == (False, 139)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-G", "demo", "job.sh"), "file:///absolute/path"),
        (("-G", "demo", "file:///no/such"), "no such file"),
        (("-G", "demo", "--dataset_definition", "d", "file:///bin/true"), "no SAM here"),
        (("file:///bin/true",), "needs -G group"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], message: str, pool: PersonalPool
) -> None:
    done = jobsub("submit", *arguments, GROUP="", JOBSUB_GROUP="")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
