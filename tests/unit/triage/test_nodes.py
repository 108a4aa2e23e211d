"""Exclusions of suspected nodes, and what failing nodes have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.bookkeeping.records import Exclusion, NodeFact
from include.triage.blackholes import Suspect
from include.triage.nodes import NodeComparison, propose

NOW = 1_800_000_000.0
HOUR = 3600.0


def suspect(host: str) -> Suspect:
    return Suspect(
        host=host, site=None, bad=6, good=0, expected_bad=0.3, fast_bad=6, ratio=20.0,
        p_value=1e-8, q_value=1e-6, reason=f"all 6 jobs failed on {host}",
    )  # fmt: skip


def excluded(
    name: str, *, hours_ago: float, lasted: float = 24, lifted_ago: float | None = None
) -> Exclusion:
    since = NOW - hours_ago * HOUR
    return Exclusion(
        kind="node", name=name, since=since, until=since + lasted * HOUR, by="prodsys", reason="",
        lifted_at=None if lifted_ago is None else NOW - lifted_ago * HOUR,
    )  # fmt: skip


def names(exclusions: tuple[Exclusion, ...]) -> list[str]:
    return [each.name for each in exclusions]


def test_a_suspect_is_excluded_for_a_day() -> None:
    found = propose([suspect("wn1")], [], nodes_seen=50, now=NOW)
    assert found.exclusions == (
        Exclusion(
            kind="node", name="wn1", since=NOW, until=NOW + 24 * HOUR, by="prodsys",
            reason="all 6 jobs failed on wn1",
        ),
    )  # fmt: skip
    assert found.spared == ()
    assert found.lines == ("node wn1 is excluded until 2027-01-16 08:00 UTC: all 6 jobs failed on wn1",)


@pytest.mark.parametrize(("times", "days"), [(1, 2), (2, 4), (3, 7), (9, 7)])
def test_each_repetition_takes_twice_as_long_up_to_a_week(times: int, days: int) -> None:
    known = [excluded("wn1", hours_ago=1000 * (n + 1)) for n in range(times)]
    known += [excluded("wn1", hours_ago=500, lifted_ago=490), excluded("wn2", hours_ago=700)]
    (only,) = propose([suspect("wn1")], known, nodes_seen=50, now=NOW).exclusions
    assert only.until - NOW == days * 24 * HOUR


def test_what_is_excluded_already_is_left_alone() -> None:
    found = propose([suspect("wn1")], [excluded("wn1", hours_ago=1)], nodes_seen=50, now=NOW)
    assert (found.exclusions, found.spared, found.lines) == ((), (), ())
    site = replace(excluded("wn1", hours_ago=1), kind="site")
    assert names(propose([suspect("wn1")], [site], nodes_seen=50, now=NOW).exclusions) == ["wn1"]


def test_a_name_that_no_list_can_carry_is_spared() -> None:
    found = propose([suspect("US CMS"), suspect("wn1")], [], nodes_seen=50, now=NOW)
    assert (names(found.exclusions), [each.host for each in found.spared]) == (["wn1"], ["US CMS"])
    assert "because HTCondor's list of excluded nodes cannot carry such a name" in found.lines[0]


def test_what_a_person_lifted_stays_so_for_a_day() -> None:
    lifted = excluded("wn1", hours_ago=30, lasted=48, lifted_ago=5)
    found = propose([suspect("wn1")], [lifted], nodes_seen=50, now=NOW)
    assert (found.exclusions, [each.host for each in found.spared]) == ((), ["wn1"])
    assert "because a person lifted its exclusion at 2027-01-15 03:00 UTC" in found.lines[0]
    found = propose([suspect("wn1")], [lifted], nodes_seen=50, now=NOW + 20 * HOUR)
    assert names(found.exclusions) == ["wn1"]


@pytest.mark.parametrize(("nodes", "most"), [(0, 0), (1, 0), (2, 1), (4, 1), (19, 1), (20, 2), (50, 5)])
def test_no_more_than_a_tenth_of_the_nodes_and_never_the_last(nodes: int, most: int) -> None:
    suspected = [suspect(f"wn{n}") for n in range(8)]
    found = propose(suspected, [], nodes_seen=nodes, now=NOW)
    assert names(found.exclusions) == [f"wn{n}" for n in range(most)]
    assert [each.host for each in found.spared] == [f"wn{n}" for n in range(most, 8)]
    said = f"not excluded, because {most} of {nodes} nodes are excluded, and no more may be at once: all 6"
    assert said in found.lines[-1]


def test_active_exclusions_count() -> None:
    known = [excluded("wn8", hours_ago=1), excluded("wn9", hours_ago=1), excluded("wn7", hours_ago=30)]
    found = propose([suspect("wn0"), suspect("wn1")], known, nodes_seen=30, now=NOW)
    assert names(found.exclusions) == ["wn0"]


# What failing nodes have in common

REPOSITORY = "mu2e.opensciencegrid.org"


def fact(host: str, revision: int | None, site: str | None = "FNAL", **facts: str) -> NodeFact:
    return NodeFact(
        host=host, site=site, seen_at=NOW, facts=tuple(facts.items()), cvmfs=((REPOSITORY, revision),)
    )


def test_an_old_revision_is_named() -> None:
    facts = [fact("a", 510), fact("b", 511), *(fact(f"ok{n}", 512 + n % 2) for n in range(14))]
    (found,) = NodeComparison(facts).common(["a"] * 30 + ["b"] * 7)
    assert found == (
        "all 37 failures were on nodes with mu2e.opensciencegrid.org at revision < 512 (2 nodes), "
        "as are 0 of 14 other nodes"
    )


def test_a_repository_that_is_not_there_is_named() -> None:
    facts = [fact("a", None), *(fact(f"ok{n}", 512) for n in range(3))]
    (found,) = NodeComparison(facts).common(["a", "a", "unknown"])
    assert found == (
        "all 2 failures whose nodes are known (of 3) were on nodes where mu2e.opensciencegrid.org could not "
        "be read (1 node), as are 0 of 3 other nodes"
    )


def test_nearly_all_is_said_so() -> None:
    facts = [fact("a", 510), fact("b", 513), *(fact(f"ok{n}", 512) for n in range(19)), fact("late", 510)]
    (found,) = NodeComparison(facts).common(["a"] * 19 + ["b"])
    assert found == (
        "19 of 20 failures were on nodes with mu2e.opensciencegrid.org at revision < 512 (1 node), "
        "as are 1 of 20 other nodes"
    )


def test_what_holds_elsewhere_too_is_not_said() -> None:
    same = [fact(f"n{n}", 512) for n in range(10)]
    assert NodeComparison(same).common(["n0", "n1"]) == []
    mixed = [fact(f"n{n}", 510 + n % 2) for n in range(10)]
    assert NodeComparison(mixed).common(["n0", "n2"]) == []
    assert NodeComparison(same).common([]) == []
    assert NodeComparison([]).common(["n0"]) == []
    assert NodeComparison(same[:1]).common(["n0"]) == []


def test_other_facts_need_more_than_one_odd_node() -> None:
    others = [fact(f"ok{n}", 512, kernel="6.1.0", scratch_free_mb="90000") for n in range(20)]
    one = [fact("a", 512, "Bari", kernel="5.4.17", scratch_free_mb="100.5")]
    assert NodeComparison([*one, *others]).common(["a"] * 50) == []
    four = [fact(name, 512, "Bari", kernel="5.4.17", scratch_free_mb="100.5") for name in "abcd"]
    assert NodeComparison([*four, *others]).common(["a"] * 50 + ["b", "c", "d"]) == [
        "all 53 failures were on nodes with kernel 5.4.17 (4 nodes), as are 0 of 20 other nodes",
        "all 53 failures were on nodes with scratch_free_mb < 90000 (4 nodes), as are 0 of 20 other nodes",
        "all 53 failures were on nodes with site Bari (4 nodes), as are 0 of 20 other nodes",
    ]
