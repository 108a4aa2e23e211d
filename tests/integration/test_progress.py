"""What the pages are made of, from a ledger in SQLite and in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from include.bookkeeping.count_tables import stage_counts
from include.bookkeeping.tables import outputs
from include.campaign.states import ActionKind
from include.errors import ProdsysError
from include.progress.bars import Bar
from include.progress.campaign import campaign_curves, campaign_page
from include.progress.campaigns import Standing, campaign_lines, campaigns_page, wish
from include.progress.estimate import Outlook
from include.progress.failures import failures_page
from include.progress.job import job_page
from include.progress.node_list import nodes_page
from include.progress.search import search
from tests.ledger_records import NOW, TRANCHE, accept, action, exclusion, fact, intend, output, sample
from tests.progress_ledger import ask, check, fill, reserve, submit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.bookkeeping.ledger import Ledger

LATER = NOW + 600
ALL = {"demo.z", "demo.quiet", "demo.secret"}


class Statements:
    """Counts the SELECTs that a ledger sends."""

    def __init__(self, ledger: Ledger) -> None:
        self.count = 0
        sa.event.listen(ledger._engine, "before_cursor_execute", self._seen)

    def _seen(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        self.count += statement.lstrip().upper().startswith(("SELECT", "WITH"))


@pytest.fixture
def filled(ledger: Ledger) -> Iterator[Ledger]:
    fill(ledger)
    return ledger


def lines_of(ledger: Ledger, now: float = LATER):
    return {line.dag_id: line for line in campaign_lines(ledger, now=now)}


def test_every_campaign_has_a_line_with_a_bar_a_stage(filled: Ledger) -> None:
    lines = lines_of(filled)
    assert set(lines) == ALL
    gen, reco, merge = lines["demo.z"].state.stages
    # Two accepted and two missing of the first slice; of the second one job each way, one not yet judged.
    assert gen.bar == Bar(accepted=2, failed=2, running=1, idle=1, held=1, unknown=1)
    assert reco.bar == Bar(waiting=8)
    assert (merge.bar, merge.is_merge) == (Bar(waiting=8), True)
    assert lines["demo.z"].standing is Standing.ASKS
    assert lines["demo.z"].needs == ("gen, run 1000: a decision is asked for", "gen: 1 subrun held")
    assert lines["demo.quiet"].standing is Standing.STOPPED
    assert lines["demo.z"].state.facts.owner == "demo"
    assert reco.estimate.outlook is Outlook.WAITING


def test_an_answered_question_is_no_longer_open(filled: Ledger) -> None:
    filled.record_action(action(ActionKind.ACCEPT, at=LATER, tag=""))
    assert "decision" not in " ".join(lines_of(filled)["demo.z"].needs)
    ask(filled, "z", "gen", 1000, now=LATER + 1)
    assert "decision" in " ".join(lines_of(filled)["demo.z"].needs)


def test_a_silent_watcher_is_told(filled: Ledger) -> None:
    assert "last counted" in " ".join(lines_of(filled, now=NOW + 7200)["demo.z"].needs)


def test_filter_sort_and_pages(filled: Ledger) -> None:
    lines = campaign_lines(filled, now=LATER)

    def shown(visible=ALL, **wanted) -> list[str]:
        return [line.dag_id for line in campaigns_page(lines, visible, wish(**wanted), now=LATER).lines]

    assert shown() == ["demo.z", "demo.quiet", "demo.secret"]
    assert shown(visible={"demo.quiet"}) == ["demo.quiet"]
    assert shown(sort="name") == sorted(ALL)
    assert shown(text="DEMO qui") == ["demo.quiet"]
    assert shown(standing="asks") == ["demo.z"]
    assert shown(page=9) == shown()
    page = campaigns_page(lines, {"demo.z"}, wish(), now=LATER)
    assert dict(page.standings)[Standing.ASKS] == 1
    assert page.total == 1
    with pytest.raises(ProdsysError, match="did you mean 'owner'"):
        wish(sort="ownr")


def test_the_page_of_a_campaign(filled: Ledger) -> None:
    page = campaign_page(filled, "demo.z", None, now=LATER)
    assert [line.run for line in page.slices] == [1000, 1001]
    assert dict(page.slices[0].cells)["gen"] == Bar(accepted=2, failed=2)
    assert [(line.run, line.jobs, line.clusters) for line in page.submissions] == [
        (1001, 4, (("ap1", 8),)),
        (1000, 4, (("ap1", 7),)),
    ]
    (site,) = page.sites
    assert (site.site, site.good, site.bad) == ("?", 2, 2)
    gen = page.space[0]
    assert (gen.bytes, gen.forecast) == (2001, round(2001 / 2 * 8))
    assert page.plan.stages[0].name == "gen"
    with pytest.raises(ProdsysError, match="no tranche 'x'"):
        campaign_page(filled, "demo.z", "x", now=LATER)
    with pytest.raises(ProdsysError, match="has not run yet"):
        campaign_page(filled, "demo.none", None, now=LATER)


def test_the_space_of_a_complete_stage_counts_what_was_removed_too(ledger: Ledger) -> None:
    reserve(ledger, "z", runs=(1000, 1999), slices=2)
    made = {}
    for cluster, stage in enumerate(("gen", "reco"), 7):
        tag = submit(ledger, "z", stage, 1000, cluster=cluster)
        check(ledger, tag, good=4, run=1000, stage=stage, cluster=cluster, now=NOW + 300)
        made[stage] = ledger.outputs(tag)
    merged = intend(ledger, "merge_reco", ranges=[(0, 3)])
    accept(ledger, merged, [output("merge_reco", 0, last=3)], now=NOW + 500)
    before = {each.stage: each.forecast for each in campaign_page(ledger, "demo.z", None, now=LATER).space}
    gone = [*made["gen"][:3], *made["reco"]]
    ledger.begin_removal(gone, experiment="demo", now=NOW + 600)
    ledger.finish_removal(gone, experiment="demo", now=NOW + 600)
    gen, reco, _ = campaign_page(ledger, "demo.z", None, now=LATER).space
    assert (gen.bytes, reco.bytes) == (made["gen"][3].size, 0)
    size = sum(each.size for each in made["gen"])
    assert gen.forecast == before["gen"] == 2 * size
    assert reco.forecast == before["reco"] is not None


def test_curves_rise_as_jobs_end_and_are_corrected_by_checks(filled: Ledger) -> None:
    gen, reco, _ = campaign_curves(filled, "demo.z", TRANCHE, now=LATER)
    shares = [share for _, share in gen.points]
    assert shares[0] == 0
    assert max(shares) <= 50.0
    # Before the check four jobs of eight had completed; it accepted two, and one more ended since.
    assert dict(gen.points)[NOW + 300] == 25.0
    assert shares[-1] == 37.5
    assert {share for _, share in reco.points} == {0.0}
    assert [at for at, _ in gen.points] == [at for at, _ in reco.points]


def test_a_curve_falls_where_everything_failed(ledger: Ledger) -> None:
    reserve(ledger, "z", runs=(1000, 1999), slices=1)
    tag = submit(ledger, "z", "gen", 1000)
    ledger.record_progress([sample(tag, at=NOW + 200, completed=4)])

    def last() -> float:
        gen, *_ = campaign_curves(ledger, "demo.z", TRANCHE, now=LATER)
        return gen.points[-1][1]

    assert last() == 100.0, "nobody has looked yet"
    check(ledger, tag, good=0, run=1000, stage="gen", now=NOW + 300)
    assert last() == 0.0
    check(ledger, tag, good=3, run=1000, stage="gen", now=NOW + 400)
    assert last() == 75.0


def test_failures_are_grouped_with_their_question(filled: Ledger) -> None:
    page = failures_page(filled, "demo.z", None, now=LATER)
    (one,) = page.groups
    assert (one.category, one.jobs, one.subruns) == ("memory", 2, 2)
    ((question, index),) = page.questions
    assert (question.run, question.stage, index) == (1000, "gen", 0)
    assert page.dag_run_id == "manual__z+00:00"
    assert sum(jobs for _, jobs in page.times) == 2
    assert failures_page(filled, "demo.secret", None, now=LATER).groups == ()


@pytest.mark.parametrize("ended_by", ["recovery", "end of the slice"])
def test_a_question_ends_also_without_an_answer(filled: Ledger, ended_by: str) -> None:
    """A person mended the cause and cleared the task, or marked it as done."""
    if ended_by == "recovery":
        filled.record_action(action(ActionKind.RECOVER, LATER))
    else:
        filled.finish_slice("demo.z", TRANCHE, 1000, now=LATER)
    assert failures_page(filled, "demo.z", None, now=LATER).questions == ()


def test_nodes_count_only_what_one_may_see(filled: Ledger) -> None:
    filled.record_node_facts([fact("wn1", sw=7)])
    filled.exclude(exclusion("wn2", since=NOW, hours=2))
    page = nodes_page(filled, {"demo.z"}, now=LATER)
    by_host = {line.host: line for line in page.lines}
    assert (by_host["wn1"].good, by_host["wn1"].bad) == (2, 2)
    assert by_host["wn1"].cvmfs == (("sw", 7),)
    assert by_host["wn2"].excluded_until == NOW + 7200
    assert page.revisions == (("sw", 7, 1),)
    assert nodes_page(filled, ALL, now=LATER).lines[0].good == 6


@pytest.mark.parametrize(
    ("text", "found"),
    [("7.2@ap1", ["7.2@ap1"]), ("7.2@other", []), ("1000/3", ["7.3@ap1"]),
     ("1001", ["8.0@ap1", "8.1@ap1", "8.2@ap1", "8.3@ap1"]),
     ("9.1", []), ("3000", []), ("nothing.root", [])],
)  # fmt: skip
def test_search(filled: Ledger, text: str, found: list[str]) -> None:
    assert [job.job_id for job in search(filled, text, visible={"demo.z"}).jobs] == found


def test_the_page_of_a_job(filled: Ledger) -> None:
    (place,) = search(filled, "7.0", visible=ALL).jobs
    page = job_page(filled, "demo.z", place.submission_id, 0, now=LATER)
    assert page is not None
    assert (page.job.exit_code, len(page.executions), len(page.verdicts)) == (0, 1, 1)
    assert page.inputs == (("gen", ("/in/0",)),)
    assert [each.state.value for each in page.outputs] == ["accepted"]
    assert job_page(filled, "demo.quiet", place.submission_id, 0, now=LATER) is None
    unsent = intend(filled, "reco")
    found = filled.place_of("demo.z", unsent, 1)
    assert found.job_id == ""
    assert job_page(filled, "demo.z", found.submission_id, 1, now=LATER).job is None


def test_the_number_of_statements_does_not_grow_with_campaigns(filled: Ledger) -> None:
    seen = Statements(filled)
    campaign_lines(filled, now=LATER)
    few = seen.count
    for number in range(5):
        first = 4000 + 10 * number
        reserve(filled, f"more{number}", runs=(first, first + 9))
        submit(filled, f"more{number}", "gen", first, cluster=20 + number)
    seen.count = 0
    campaign_lines(filled, now=LATER)
    assert seen.count == few <= 6
    seen.count = 0
    campaign_page(filled, "demo.z", None, now=LATER)
    assert seen.count <= 18


def test_counts_follow_what_they_count(filled: Ledger) -> None:
    """After each kind of change the kept counts are those of `stage_progress`."""

    def agree() -> None:
        for dag_id in sorted(ALL):
            kept = {count.stage: count for count in filled.overview(times=(), dag_id=dag_id).counts}
            for row in filled.stage_progress(dag_id, TRANCHE):
                count = kept[row.stage]
                assert (count.subruns, count.accepted, count.missing, count.duplicates) == (
                    row.subruns, row.accepted, row.missing, row.duplicates,
                )  # fmt: skip

    agree()
    again = submit(filled, "z", "gen", 1000, recovery=1, cluster=11, now=LATER)
    agree()
    check(filled, again, good=3, run=1000, stage="gen", cluster=11, now=LATER + 60)
    agree()
    reco = submit(filled, "z", "reco", 1000, cluster=12, now=LATER + 70)
    accept(filled, reco, [output("reco", 0), output("reco", 0, start=2), output("reco", 1)], now=LATER + 80)
    agree()
    refused = intend(filled, "gen", run=1001, recovery=1)
    filled.record_refused(refused, message="no", now=LATER)
    agree()
    with filled._read() as connection:
        names = connection.scalars(sa.select(outputs.c.file_name).distinct()).all()
        assert names == ["default.root"]
        assert connection.scalar(sa.select(sa.func.count()).select_from(stage_counts)) == 3 * 2 * 3


def test_a_job_of_a_second_cluster_is_found_by_the_process_that_it_has_there(filled: Ledger) -> None:
    tag = intend(filled, "reco")
    sent = [("ap1", 20, 2), ("ap2", 20, 2)]
    filled.record_submitted(tag, clusters=sent, message="", now=NOW + 1, first_units=(0, 2))
    assert [filled.place_of("demo.z", tag, unit).job_id for unit in range(4)] == [
        "20.0@ap1",
        "20.1@ap1",
        "20.0@ap2",
        "20.1@ap2",
    ]
    assert [job.process for job in search(filled, "20.1@ap2", visible=ALL).jobs] == [3]
    assert search(filled, "20.2@ap1", visible=ALL).jobs == ()
