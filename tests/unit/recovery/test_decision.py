"""What is done about a stage, by its figures and causes."""

from __future__ import annotations

from typing import Any

import pytest

from include.bookkeeping.records import AS_PLANNED, DiagnosisRecord, RequestChanges
from include.campaign.states import Remedy
from include.recovery.decision import Act, Decision, Past, decide
from include.recovery.standing import build_standing
from tests.unit.recovery.records import MISSING, UNKNOWN, diagnosis, stage, unit


def outcome(
    *,
    accepted: int,
    missing: dict[int, Remedy],
    recovery: int = 0,
    threshold: float = 0.9,
    forced: bool = False,
    past: dict[str, Any] | None = None,
    earlier: dict[int, list[DiagnosisRecord]] | None = None,
    **rule: Any,
) -> Decision:
    """Decide on a stage of which `accepted` subruns are done and `missing` ones failed."""
    plan = stage(threshold, **rule)
    standing = build_standing(
        plan,
        run=1,
        units=[unit(subrun, MISSING, recovery) for subrun in missing],
        accepted=frozenset(range(1000, 1000 + accepted)),
        possible=frozenset(),
    )
    diagnoses = {
        subrun: [*(earlier or {}).get(subrun, []), diagnosis(subrun, remedy)]
        for subrun, remedy in missing.items()
    }
    known = Past(diagnoses=diagnoses, last=AS_PLANNED, nodes=8)
    from dataclasses import replace

    return decide(standing, plan, replace(known, **(past or {})), forced=forced)


def test_at_or_above_the_threshold_nothing_needs_doing() -> None:
    found = outcome(accepted=95, missing=dict.fromkeys(range(5), Remedy.SAME))
    assert found.act is Act.NOTHING
    assert "95 of 100 subruns accepted (95.0 %)" in found.why
    assert "90 %" in found.why
    assert outcome(accepted=9, missing={1: Remedy.NONE}).act is Act.NOTHING


def test_below_it_what_can_be_recovered_is() -> None:
    found = outcome(
        accepted=80, missing={**dict.fromkeys(range(18), Remedy.SAME), 18: Remedy.NONE, 19: Remedy.PERSON}
    )
    assert (found.act, found.subruns) == (Act.RECOVER, tuple(range(18)))


def test_it_stops_at_once_where_no_recovery_would_reach_the_threshold() -> None:
    causes = {**dict.fromkeys(range(35), Remedy.NONE), **dict.fromkeys(range(35, 40), Remedy.SAME)}
    found = outcome(accepted=60, missing=causes)
    assert found.act is Act.ASK
    assert found.why.startswith(
        "no recovery by itself mends it: 35 subruns failed for causes that submitting again does not cure; "
        "the 5 others would not reach the threshold; 60 of 100"
    )


def test_what_a_person_can_mend_is_not_called_hopeless() -> None:
    causes = {**dict.fromkeys(range(30), Remedy.PERSON), **dict.fromkeys(range(30, 40), Remedy.NONE)}
    found = outcome(accepted=60, missing=causes)
    assert "30 subruns wait for a person: do what is named below, then recover again; 10 subruns" in found.why
    assert "others" not in found.why


def test_a_person_may_force_it() -> None:
    found = outcome(accepted=60, missing=dict.fromkeys(range(40), Remedy.NONE), recovery=2, forced=True)
    assert (found.act, len(found.subruns)) == (Act.RECOVER, 40)


def test_attempts_are_bounded() -> None:
    causes = dict.fromkeys(range(20), Remedy.SAME)
    assert outcome(accepted=80, missing=causes, recovery=1).act is Act.RECOVER
    spent = outcome(accepted=80, missing=causes, recovery=2)
    assert spent.act is Act.ASK
    assert "all 2 recoveries are spent" in spent.why
    assert outcome(accepted=80, missing=causes, attempts=0).act is Act.ASK


def test_held_jobs_are_for_a_person_and_are_never_recovered() -> None:
    plan = stage()
    standing = build_standing(
        plan,
        run=1,
        units=[unit(0, UNKNOWN, held=True), unit(1, MISSING)],
        accepted=frozenset({2}),
        possible=frozenset(),
    )
    assert standing.counts == "1/3 accepted, 1 missing, 1 held"
    found = decide(standing, plan, Past(diagnoses={}, last=AS_PLANNED))
    assert found.act is Act.ASK
    assert "held" in found.why


@pytest.mark.parametrize(
    ("remedy", "name", "raised"),
    [
        (Remedy.MORE_MEMORY, "memory_mb", 1500),
        (Remedy.MORE_DISK, "disk_kb", 1500),
        (Remedy.MORE_TIME, "lifetime_s", 1500),
    ],
)
def test_what_ran_out_is_raised_within_the_cap(remedy: Remedy, name: str, raised: int) -> None:
    causes = dict.fromkeys(range(20), remedy)
    assert getattr(outcome(accepted=80, missing=causes).changes, name) == raised
    again = outcome(accepted=80, missing=causes, recovery=1, past={"last": RequestChanges(**{name: 1500})})
    assert getattr(again.changes, name) == 2000, "the cap is twice the stage's own"
    capped = outcome(accepted=80, missing=causes, recovery=1, past={"last": RequestChanges(**{name: 2000})})
    assert capped.act is Act.ASK
    assert "20 subruns need more than 2000 " in capped.why
    assert f"at the cap ({remedy.value}): 'Recover again' asks for that once more" in capped.why
    assert "new dag_runs" in capped.why


def test_memory_covers_what_was_seen_to_be_used() -> None:
    causes = dict.fromkeys(range(20), Remedy.MORE_MEMORY)
    found = outcome(accepted=80, missing=causes, past={"used_memory_mb": 3000}, max_memory_mb=8000)
    assert found.changes.memory_mb == 3750
    capped = outcome(accepted=80, missing=causes, past={"used_memory_mb": 3000})
    assert capped.act is Act.ASK, "twice the stage's own is less than what is used"
    assert "cap" in capped.why


def test_bad_nodes_are_avoided_but_never_most_of_them() -> None:
    found = outcome(accepted=80, missing=dict.fromkeys(range(20), Remedy.OTHER_NODE), past={"nodes": 4})
    assert len(found.changes.machines) == 2
    assert found.changes.memory_mb is None
    assert outcome(accepted=80, missing={0: Remedy.OTHER_NODE}, threshold=1.0).changes.machines == ("wn0",)
    some = {"sites": 2}
    assert outcome(accepted=80, missing={0: Remedy.OTHER_SITE}, threshold=1.0, past=some).changes.sites == (
        "S",
    )
    only = {"sites": 1}
    assert outcome(accepted=80, missing={0: Remedy.OTHER_SITE}, threshold=1.0, past=only).changes.sites == ()


def test_what_earlier_recoveries_kept_off_the_next_one_does_too() -> None:
    past = {"last": RequestChanges(machines=("wn9",))}
    found = outcome(accepted=80, missing={0: Remedy.OTHER_NODE}, threshold=1.0, recovery=1, past=past)
    assert found.changes.machines == ("wn0", "wn9")
    same = outcome(accepted=80, missing={0: Remedy.SAME}, threshold=1.0, recovery=1, past=past)
    assert same.changes.machines == ("wn9",)


def test_above_the_threshold_a_held_job_stops_nobody_and_is_named() -> None:
    plan = stage()
    standing = build_standing(
        plan,
        run=1,
        units=[unit(0, UNKNOWN, held=True)],
        accepted=frozenset(range(1, 100)),
        possible=frozenset(),
    )
    found = decide(standing, plan, Past(diagnoses={}, last=AS_PLANNED))
    assert found.act is Act.NOTHING
    assert "1 jobs stay held" in found.why


def test_late_inputs_are_tried_at_any_rate_of_success() -> None:
    plan = stage()
    late = frozenset({200, 201})
    standing = build_standing(plan, run=1, units=[], accepted=frozenset(range(99)), possible=late)
    found = decide(standing, plan, Past(diagnoses={}, last=AS_PLANNED))
    assert (found.act, found.subruns) == (Act.RECOVER, (200, 201))


def test_what_fails_twice_alike_and_unexplained_is_not_tried_a_third_time() -> None:
    odd = {subrun: [diagnosis(subrun, Remedy.SAME, category="unclassified")] for subrun in range(20)}
    plan = stage()
    standing = build_standing(
        plan,
        run=1,
        units=[unit(s, MISSING, 1) for s in range(20)],
        accepted=frozenset(range(100, 180)),
        possible=frozenset(),
    )
    twice = {subrun: rows * 2 for subrun, rows in odd.items()}
    assert decide(standing, plan, Past(diagnoses=odd, last=AS_PLANNED)).act is Act.RECOVER
    found = decide(standing, plan, Past(diagnoses=twice, last=AS_PLANNED))
    assert found.act is Act.ASK
    assert "20 subruns failed twice in the same way, which no rule explains" in found.why
    assert "does not cure" not in found.why
