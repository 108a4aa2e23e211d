"""What failures have in common: groups, what is unusual, and how it is told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.records import DiagnosisRecord, NodeFact, StageDiagnosis
from include.campaign.states import Remedy
from include.triage.groups import candidates_for_rules, cross, group
from include.triage.story import MAX_MARKDOWN, markdown, story
from include.triage.unusual import ALARM, Background, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

T0 = 1_800_000_000.0


def failed(process: int, **changes: object) -> StageDiagnosis:
    """Return one diagnosis."""
    values: dict[str, object] = {
        "process": process, "first_subrun": process, "last_subrun": process, "category": "code",
        "rule": "crash",
        "cause": "the program crashed (SIGSEGV)", "evidence": f"/logs/{process}/job.log:7: boom",
        "advice": "mend the program", "remedy": Remedy.NONE, "job_id": f"7.{process}@ap1",
        "host": f"wn{process % 10}", "site": None, "exit_code": 139, "exit_signal": None, "at": T0 + process,
        "signature": "boom",
    }  # fmt: skip
    place = {name: changes.pop(name) for name in ("stage", "run") if name in changes}
    record = DiagnosisRecord(**{**values, **changes})  # type: ignore[arg-type]
    return StageDiagnosis(
        **{"dag_id": "demo.z", "tranche": "t", "run": 1000, "stage": "gen", "tag": "tag", **place},  # type: ignore[arg-type]
        diagnosis=record,
    )


def unusual(some: Sequence[StageDiagnosis], **known: object) -> str:
    """Return what is said of one group, in one text."""
    (one,) = group(some, background=Background(**known))  # type: ignore[arg-type]
    return "; ".join(one.unusual)


def test_groups_are_counted_and_ordered() -> None:
    some = [failed(n) for n in range(3)]
    some += [
        failed(n, first_subrun=10 * n, last_subrun=10 * n + 9, rule="held-time", category="time")
        for n in range(2)
    ]
    some += [failed(9, category="unclassified", rule="", signature=text) for text in ("a", "b", "a")]
    groups = group(some)
    assert [(one.rule, one.jobs, one.subruns) for one in groups] == [
        ("held-time", 2, 20), ("crash", 3, 3), ("", 2, 2), ("", 1, 1),
    ]  # fmt: skip
    assert groups[1].nodes == (("wn0", 1), ("wn1", 1), ("wn2", 1))
    assert groups[1].exits == (("exit code 139", 3),)
    assert [(text, jobs) for text, jobs, _ in candidates_for_rules(some)] == [("a", 2), ("b", 1)]
    assert cross(some, ("category", "exit"))[0] == (("code", "exit code 139"), 3)
    with pytest.raises(ValueError, match="cannot be counted by 'colour'"):
        cross(some, ("colour",))


@pytest.mark.parametrize(
    ("k", "drawn", "marked", "total", "chance"),
    [
        (0, 5, 5, 10, 1.0), (6, 5, 5, 10, 0.0), (5, 5, 5, 10, 1 / 252), (1, 1, 3, 10, 0.3),
        (2, 2, 2, 4, 1 / 6), (3, 8, 5, 10, 1.0), (4, 8, 5, 10, 7 / 9),
    ],
)  # fmt: skip
def test_the_chance_of_so_many(k: int, drawn: int, marked: int, total: int, chance: float) -> None:
    assert tail(k, drawn=drawn, marked=marked, total=total) == pytest.approx(chance, rel=1e-9)


def test_large_numbers() -> None:
    assert tail(500, drawn=1000, marked=100_000, total=1_000_000) < 1e-100
    assert 0.4 < tail(100, drawn=1000, marked=100_000, total=1_000_000) < 0.6


def test_a_bad_node_is_named_with_its_numbers() -> None:
    nodes = {f"wn{n}": 100 for n in range(50)}
    some = [failed(n, host="wn3") for n in range(40)] + [failed(n, host=f"wn{n}") for n in range(49)]
    said = unusual(some, nodes=nodes)
    assert "node wn3 fails so 42x more often than other nodes (41 of 100 jobs there)" in said
    assert "wn4" not in said


def test_bad_code_names_no_node() -> None:
    rng = random.Random(7)
    nodes = {f"wn{n}": 100 for n in range(50)}
    for _ in range(20):
        some = [failed(n, host=f"wn{rng.randrange(50)}") for n in range(3000)]
        assert "node" not in unusual(some, nodes=nodes)


def test_few_failures_say_nothing() -> None:
    nodes = {f"wn{n}": 100 for n in range(50)}
    assert unusual([failed(n, host="wn3") for n in range(4)], nodes=nodes) == ""


def test_all_on_one_node_or_site() -> None:
    said = unusual([failed(n, host="wn3", site="A") for n in range(20)], nodes={"wn3": 50, "wn4": 950})
    assert "all 20 are on node wn3, which had 5 % of jobs" in said
    assert "site" not in said, "nothing is known of other sites"
    others = [failed(n, host=f"w{n}", site="B", rule="other") for n in range(60)]
    groups = group([failed(n, site="A") for n in range(20)] + others)
    assert "all 20 are on site A, which had 25 % of failed jobs" in groups[1].unusual


def test_the_only_node_there_is_is_nothing_unusual() -> None:
    assert "node" not in unusual([failed(n, host="wn3") for n in range(20)], nodes={"wn3": 50})


def test_since_when() -> None:
    some = [failed(n, at=T0 + n) for n in range(30)]
    good = [T0 - 1000 + n for n in range(500)]
    assert "all 30 ended at 2027-01-15 08:00 UTC or later; 500 jobs ended well before" in unusual(
        some, good_at=good
    )
    mixed = [*some, failed(99, at=T0 - 900)]
    assert "since 2027-01-15 08:00 UTC 100 % of jobs end so, before 0.2 %" in unusual(mixed, good_at=good)
    even = [T0 - 15 + n * 0.1 for n in range(600)]
    assert "UTC" not in unusual([failed(n, at=T0 - 15 + 2 * n) for n in range(30)], good_at=even)


def test_times_of_one_rate_name_no_moment() -> None:
    rng = random.Random(5)
    said = [
        unusual(
            [failed(n, at=rng.uniform(0, 1000)) for n in range(60)],
            good_at=[rng.uniform(0, 1000) for _ in range(600)],
        )
        for _ in range(50)
    ]  # fmt: skip
    assert sum("UTC" in text for text in said) <= 1
    assert ALARM == 1e-3


def test_a_range_of_subruns() -> None:
    known = {("gen", 1000): (0, 999)}
    assert "only subruns 100..199 of 0..999 (run 1000)" in unusual(
        [failed(n) for n in (100, 120, 150, 180, 199)], subruns=known
    )
    assert "only subruns" not in unusual([failed(n) for n in (5, 300, 500, 800, 999)], subruns=known)


def test_an_input_in_common() -> None:
    inputs = {("gen", 1000, n): (f"/in/{n // 20}.root", "/in/all.root") for n in range(1000)}
    some = [failed(n) for n in range(20, 40)] + [failed(n) for n in (500, 700)]
    said = unusual(some, inputs=inputs)
    assert "20 of 20 jobs with input /in/1.root fail so, 2 of the 980 without it" in said
    assert "all.root" not in said


def test_what_the_nodes_of_failures_have_in_common() -> None:
    nodes = {f"wn{n}": 100 for n in range(20)}
    facts = [
        NodeFact(host=node, site=None, seen_at=T0, facts=(), cvmfs=(("sw.example.org", 6 if n < 2 else 7),))
        for n, node in enumerate(nodes)
    ]
    some = [failed(n, host=f"wn{n % 2}") for n in range(10)]
    said = unusual(some, nodes=nodes, facts=facts)
    assert "all 10 failures were on nodes with sw.example.org at revision < 7 (2 nodes)" in said
    spread = [failed(n, host=f"wn{n}") for n in range(10)]
    assert "revision" not in unusual(spread, nodes=nodes, facts=facts)


def test_the_story() -> None:
    groups = group(
        [failed(n) for n in range(8)] + [failed(n, rule="killed", remedy=Remedy.SAME) for n in range(2)]
    )
    lines = story(groups)
    assert lines[:4] == [
        "triage: 10 failed jobs, 10 subruns, 2 causes; 8 subruns that no recovery mends",
        "1. gen: 8 subruns: the program crashed (SIGSEGV) [code/crash]; NO RECOVERY HELPS",
        "    evidence: /logs/0/job.log:7: boom",
        "    example: job 7.0@ap1 on wn0, run 1000, subrun 0",
    ]
    assert "    unusual: all 8 ended with exit code 139" in lines
    assert story([]) == ["triage: nothing failed"]
    odd = group([failed(0, category="unclassified", rule="", remedy=Remedy.SAME)])
    assert "a recovery may help, or not" in story(odd)[1]
    assert "and 1 rarer cause with 2 subruns: `prodsys triage` lists all" in story(groups, shown=1)


HOSTILE = "</td><script>alert(1)</script> [x](javascript:y) `a` **b** \x1b[31m\n# head | \u202e 100 % ~~c~~"


def test_markdown_is_bounded_and_escaped() -> None:
    some = [
        failed(n, rule=f"r{n}", cause=HOSTILE, evidence=HOSTILE * 9, advice="é" * 300) for n in range(100)
    ]
    text = markdown(group(some))
    assert len(text.encode()) <= MAX_MARKDOWN
    assert "<script" not in text.replace("\\<", "")
    assert "](" not in text.replace("\\]", "")
    assert "\n#" not in text
    assert "rarer causes with" in text
    assert text.startswith("**triage: 100 failed jobs, 100 subruns, 100 causes")
    assert markdown([]) == "Nothing failed."
    for line in story(group(some)):
        assert len(line) <= 310
        assert "\n" not in line
