"""What the ledger knows of nodes; in SQLite and in Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.bookkeeping.records import NodeRevision, NodeTally
from include.campaign.states import JobStatus
from include.errors import LedgerError
from tests.ledger_records import NOW, TRANCHE, campaign_plan, exclusion, fact, intend, job

HOUR = 3600.0

# Exclusions


def test_an_active_exclusion_is_prolonged_and_an_expired_one_is_followed(ledger):
    first = exclusion("wn1", hours=2)
    for _ in range(2):
        assert ledger.exclude(first) == first
    shorter = replace(exclusion("wn1", NOW + HOUR, hours=0.5, by="ann"), reason="It smells.")
    assert ledger.exclude(shorter) == replace(first, by="ann", reason="It smells.")
    longer = exclusion("wn1", NOW + HOUR, hours=4)
    assert ledger.exclude(longer) == replace(longer, since=NOW)
    assert ledger.exclusions(NOW + 5 * HOUR - 1) == [replace(longer, since=NOW)]
    assert ledger.exclusions(NOW + 5 * HOUR) == []
    second = exclusion("wn1", NOW + 5 * HOUR)
    assert ledger.exclude(second) == second
    assert ledger.exclusions(NOW + 6 * HOUR) == [second]
    assert ledger.exclusions(NOW + 6 * HOUR, all=True) == [replace(longer, since=NOW), second]


def test_a_node_and_a_site_of_one_name_are_apart(ledger):
    node, site = exclusion("x"), exclusion("x", kind="site")
    for each in (node, site):
        ledger.exclude(each)
    assert ledger.exclusions(NOW) == [node, site]
    with pytest.raises(LedgerError, match="refused a record"):
        ledger.exclude(exclusion("x", kind="rack"))
    with pytest.raises(LedgerError, match="refused a record"):
        ledger.exclude(exclusion("y", hours=0))


@pytest.mark.parametrize("name", ["", "wn1, wn2", 'wn"1', "US CMS", "wn\udcff", "w\0n"])
def test_what_no_list_of_htcondor_can_carry_is_refused(ledger, name):
    for kind in ("node", "site"):
        with pytest.raises(LedgerError, match=f"name of a {kind} that can be excluded"):
            ledger.exclude(exclusion(name, kind=kind))
    assert ledger.exclusions(NOW, all=True) == []


def test_what_no_column_takes_is_an_error_of_the_ledger(ledger):
    for asked in ({"run": 10**23}, {"stage": "g\udcff"}):
        with pytest.raises(LedgerError, match="cannot"):
            ledger.diagnoses(**asked)
    with pytest.raises(LedgerError, match="cannot take a value"):
        ledger.lift("node", "wn\udcff", "ann", NOW)


def test_lifting_ends_it_once(ledger):
    assert ledger.lift("node", "wn1", "ann", NOW) is None
    first = ledger.exclude(exclusion("wn1"))
    lifted = ledger.lift("node", "wn1", "ann", NOW + 9)
    assert lifted == replace(first, lifted_at=NOW + 9)
    assert ledger.lift("node", "wn1", "ann", NOW + 10) is None
    assert ledger.exclusions(NOW + 9) == []
    again = ledger.exclude(exclusion("wn1", NOW + 20))
    assert ledger.exclusions(NOW + 20, all=True) == [lifted, again]
    assert ledger.lift("node", "wn1", "ann", again.until) is None


# Facts


def test_the_latest_facts_of_a_node_are_kept(ledger):
    late, early = fact("wn1", NOW + 5, mu2e=512, cms=None), fact("wn1", NOW, mu2e=511)
    for each in ([late, fact("wn2", NOW, mu2e=512)], [early], [early, late], []):
        ledger.record_node_facts(each)
    assert ledger.node_facts() == [late, fact("wn2", NOW, mu2e=512)]
    assert ledger.node_facts("wn1") == [late]
    assert ledger.node_facts("wn9") == []


def test_revisions_are_seen_from_to(ledger):
    ledger.record_node_facts([fact("wn1", NOW + 5, mu2e=511), fact("wn1", NOW + 9, mu2e=512, cms=None)])
    ledger.record_node_facts([fact("wn1", NOW + 2, mu2e=511), fact("wn1", NOW + 7, mu2e=511)])
    old = NodeRevision(
        host="wn1", repository="mu2e", revision=511, first_seen_at=NOW + 2, last_seen_at=NOW + 7
    )
    new = NodeRevision(
        host="wn1", repository="mu2e", revision=512, first_seen_at=NOW + 9, last_seen_at=NOW + 9
    )
    assert ledger.node_revisions("wn1") == ledger.node_revisions() == [old, new]
    assert ledger.node_revisions("wn2") == []


# Tallies


def tally(host, good, bad, bad_fast, *, stage="gen", site=None):
    return NodeTally(
        dag_id="demo.z", stage=stage, host=host, site=site, good=good, bad=bad, bad_fast=bad_fast
    )


def test_jobs_are_counted_by_machine_and_stage(ledger, gen):
    ledger.record_jobs(gen, [
        job(0, host="slot1_2@glidein_3@wn1.x", site="S", wall_s=1000.0),
        job(1, host="slot1@wn1.x", exit_code=3, wall_s=99.0),
        job(2, host="wn1.x", exit_code=None, exit_signal=11, wall_s=101.0),
        job(3, host="slot2@wn2", wall_s=1000.0),
    ])  # fmt: skip
    reco = intend(ledger, "reco")
    ledger.record_jobs(reco, [
        job(0, host="slot1@wn1.x", exit_code=1, wall_s=59.0),
        job(1, host="slot1@wn1.x", exit_code=1, wall_s=61.0),
    ])  # fmt: skip
    found = ledger.node_tallies(NOW, NOW + 100)
    assert found == [
        tally("wn1.x", 1, 2, 1, site="S"), tally("wn2", 1, 0, 0), tally("wn1.x", 0, 2, 1, stage="reco"),
    ]  # fmt: skip
    assert ledger.node_tallies(NOW, NOW + 100, "demo") == found
    assert ledger.node_tallies(NOW, NOW + 100, "other") == []


def test_only_jobs_that_ended_by_themselves_in_the_span_count(ledger, gen):
    ledger.record_jobs(gen, [
        job(0, ended_at=NOW + 10), job(1, ended_at=NOW + 21), job(2, ended_at=NOW + 9),
        job(3, ended_at=NOW + 15, host=None),
    ])  # fmt: skip
    assert ledger.node_tallies(NOW + 10, NOW + 20) == [tally("wn1", 1, 0, 0)]
    ledger.record_jobs(gen, [
        job(0, status=JobStatus.REMOVED, exit_code=None), job(1, status=JobStatus.HELD, exit_code=9),
        job(2, exit_code=None), job(3, status=JobStatus.RUNNING, exit_code=None, ended_at=None),
    ])  # fmt: skip
    assert ledger.node_tallies(NOW - 100, NOW + 100) == []


@pytest.mark.parametrize(("walls", "limit"), [((100, 200, 600), 20), ((100, 200, 300, 600), 25)])
def test_fast_is_below_a_tenth_of_the_median(ledger, walls, limit):
    ledger.reserve(campaign_plan(subruns=20), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    gen = intend(ledger, "gen", ranges=[(n, n) for n in range(20)])
    good = [job(n, wall_s=float(wall)) for n, wall in enumerate(walls)]
    bad = [job(10, exit_code=1, wall_s=limit - 0.5), job(11, exit_code=1, wall_s=limit + 0.5)]
    ledger.record_jobs(gen, [*good, *bad, job(12, exit_code=1, wall_s=None), job(13, wall_s=None)])
    assert ledger.node_tallies(NOW, NOW + 100) == [tally("wn1", len(walls) + 1, 3, 1)]
