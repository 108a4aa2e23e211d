"""How long triage takes: 100,000 diagnoses grouped and told, and 10,000 failures with logs diagnosed.

Run: python benchmarks/bench_triage.py [DIAGNOSES] [FAILURES]. It fails where grouping up to 100,000 takes
more than 5 s of CPU, or the process more than 500 MB.
"""

from __future__ import annotations

import random
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from include.bookkeeping.records import DiagnosisRecord, NodeFact, StageDiagnosis
from include.campaign.states import Remedy
from include.triage.classify import Triage
from include.triage.conditions import Example
from include.triage.examples import failure_of
from include.triage.groups import candidates_for_rules, cross, group
from include.triage.rulebook import load_rules
from include.triage.story import markdown, story
from include.triage.unusual import Background

NODES, SITES, REPOSITORIES, LOG_KB = 5000, 40, 5, 200
MOST, MOST_S, MOST_MB = 100_000, 5.0, 500
FACTS = ("scratch_free_mb", "memory_mb", "load")
RULES = ("crash", "held-memory", "file-not-found", "xrootd-expired", "cvmfs-disconnected", "held-time", "")


def diagnosis(number: int, rng: random.Random) -> StageDiagnosis:
    """Return one failure among many, with a node that fails more often than the others."""
    rule = rng.choice(RULES)
    node = 17 if rng.random() < 0.05 else rng.randrange(NODES)
    record = DiagnosisRecord(
        process=number % 10_000, first_subrun=number % 10_000, last_subrun=number % 10_000,
        category="code" if rule else "unclassified",
        rule=rule,
        cause=f"cause of {rule}", evidence="/log:7: boom",
        advice="mend it", remedy=Remedy.NONE, job_id=f"{number // 10_000}.{number % 10_000}@ap1",
        host=f"wn{node}.example.org", site=f"SITE{node % SITES}", exit_code=rng.choice((1, 65, 134, 139)),
        exit_signal=None, at=1e9 + rng.uniform(0, 86_400),
        signature=f"strange thing {rng.randrange(300)} happened",
    )  # fmt: skip
    return StageDiagnosis(
        dag_id="demo.z", tranche="bench", run=1000 + number // 10_000, stage=rng.choice(("gen", "reco")),
        tag="tag", diagnosis=record,
    )  # fmt: skip


def background(rng: random.Random) -> Background:
    """Return what is known of a million jobs and their nodes."""
    facts = [
        NodeFact(
            host=f"wn{n}.example.org", site=f"SITE{n % SITES}", seen_at=1e9,
            facts=tuple((name, str(rng.randrange(100_000))) for name in FACTS),
            cvmfs=tuple((f"repo{r}.example.org", 1000 + rng.randrange(50)) for r in range(REPOSITORIES)),
        )
        for n in range(NODES)
    ]  # fmt: skip
    return Background(
        facts=facts,
        nodes={f"wn{n}.example.org": 200 for n in range(NODES)},
        sites={f"SITE{n}": 1_000_000 // SITES for n in range(SITES)},
        good_at=[1e9 + rng.uniform(0, 86_400) for _ in range(900_000)],
        subruns={("gen", 1000 + n): (0, 9_999) for n in range(10)},
        inputs={("gen", 1000 + n // 10_000, n % 10_000): (f"/in/{n // 20}.root",) for n in range(100_000)},
    )


def now() -> tuple[float, float]:
    """Return the time by the clock, and of CPU: a busy machine shows in the first alone."""
    return time.perf_counter(), time.process_time()


def timed(what: str, since: tuple[float, float]) -> float:
    """Print how long something took, and return the CPU time."""
    took, cpu = (later - before for later, before in zip(now(), since, strict=True))
    print(f"{what}: {took:.2f} s, {cpu:.2f} s of CPU", flush=True)
    return cpu


def main(diagnoses: int, failures: int) -> None:
    """Time the parts of a triage."""
    rng = random.Random(1)  # noqa: S311  the same every time
    start = now()
    count = len(load_rules().rules)
    triage = Triage.load()
    timed(f"reading and compiling {count} rules", start)
    some = [diagnosis(number, rng) for number in range(diagnoses)]
    known = background(rng)
    start = now()
    groups = group(some, background=known)
    cpu = timed(f"grouping {diagnoses} diagnoses, with what is unusual", start)
    assert diagnoses > MOST or cpu <= MOST_S, f"{cpu:.1f} s, more than {MOST_S:g}"
    start = now()
    lines, text = story(groups), markdown(groups)
    assert len(lines) > 10
    assert len(text) > 1000
    candidates_for_rules(some)
    cross(some, ("category", "rule", "node", "site", "stage", "exit"))
    timed("story, Markdown, candidates and the full cross table", start)
    folder = Path(tempfile.mkdtemp(prefix="bench-triage-"))
    try:
        log = folder / "job.log"
        line = "Begin processing the 17th record. run: 1000 subRun: 3 event: 17 at 24-Nov-2026 02:00:00 CST\n"
        log.write_text(line * (LOG_KB * 1024 // len(line)) + "free(): invalid pointer\n")
        blank = replace(failure_of(Example(exit=134)), log=str(log))
        start = now()
        said = triage.diagnose([replace(blank, process=number) for number in range(failures)])
        assert said[-1].rule == "glibc-abort"
        timed(f"diagnosing {failures} failures that look alike, logs of {LOG_KB} kB each", start)
        start = now()
        triage.diagnose([replace(blank, log="", process=number) for number in range(failures)])
        timed(f"diagnosing {failures} failures without logs", start)
    finally:
        shutil.rmtree(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"memory: {peak} MB at most")
    assert diagnoses > MOST or peak <= MOST_MB, f"{peak} MB, more than {MOST_MB}"


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [100_000, 10_000][len(numbers) :]))
