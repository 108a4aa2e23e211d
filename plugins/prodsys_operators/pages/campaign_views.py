"""Routes: all campaigns, one campaign, its failures; each as a page, and as JSON or CSV."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from fastapi import APIRouter, Query, Request, Response

from include.progress.campaign import campaign_curves, campaign_page, chosen_tranche
from include.progress.campaigns import SORTS, campaign_lines, campaigns_page, wish
from include.progress.failures import failures_page
from prodsys_operators.pages import answers, wording
from prodsys_operators.pages.access import READS_DAG, EditableDags, VisibleDags
from prodsys_operators.pages.source import ledger, pinned, recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.progress.campaign import CampaignPage
    from include.progress.campaigns import CampaignLine, CampaignsPage
    from include.progress.failures import FailuresPage
    from include.reports.figures import Report

router = APIRouter()

Text = Annotated[str, Query(max_length=200)]
Word = Annotated[str, Query(max_length=30)]
Number = Annotated[int, Query(ge=1, le=100_000)]
Tranche = Annotated[str, Query(max_length=500)]
LINE_HEAD = (
    "campaign", "owner", "phase", "tranche", "standing", "stage", "subruns", "accepted", "running", "idle",
    "held", "failed", "unknown", "waiting", "jobs_per_hour", "end", "end_early", "end_late",
)  # fmt: skip


def lines() -> list[CampaignLine]:
    """Return a line for each campaign, at most moments old."""
    found: list[CampaignLine] = recent.get("lines", lambda: campaign_lines(ledger(), now=time.time()))
    return found


def _chosen(dag_id: str, tranche: str, run_id: str) -> str | None:
    """Return the tranche that is asked for, by itself or by its dag_run; None where that has not begun."""
    if not run_id:
        return tranche
    # The plus signs of a dag_run's id may have come as they are, which reads as spaces.
    known = ledger().tranche_of_run(dag_id, run_id)
    return known or ledger().tranche_of_run(dag_id, run_id.replace(" ", "+"))


def _campaigns(visible: frozenset[str], *, q: str, standing: str, sort: str, page: int) -> CampaignsPage:
    return campaigns_page(
        lines(), visible, wish(text=q, standing=standing, sort=sort, page=page), now=time.time()
    )


@router.get("/campaigns")
def campaigns(
    request: Request,
    visible: VisibleDags,
    q: Text = "",
    standing: Word = "",
    sort: Word = "",
    page: Number = 1,
) -> Response:
    """All campaigns that the user may see."""
    found = _campaigns(visible, q=q, standing=standing, sort=sort, page=page)
    return answers.page(request, "campaigns.html", page=found, now=found.at, sorts=list(SORTS))


@router.get("/campaigns.json")
def campaigns_json(
    request: Request,
    visible: VisibleDags,
    q: Text = "",
    standing: Word = "",
    sort: Word = "",
    page: Number = 1,
) -> Response:
    """The same for programs."""
    return answers.as_json(request, _campaigns(visible, q=q, standing=standing, sort=sort, page=page))


@router.get("/campaigns.csv")
def campaigns_csv(request: Request, visible: VisibleDags) -> Response:
    """One row a campaign and stage."""
    rows = []
    for line in sorted(lines(), key=lambda line: line.dag_id):
        if line.dag_id not in visible:
            continue
        facts = line.state.facts
        for stage in line.state.stages:
            bar, end = stage.bar, stage.estimate
            counts = [getattr(bar, part) for part in wording.PART_NAMES]
            times = [wording.iso(at) for at in (end.end, end.early, end.late)]
            head = [line.dag_id, facts.owner, facts.phase, facts.tranche, line.standing.value, stage.stage]
            rows.append([*head, bar.subruns, *counts, end.rate, *times])
    return answers.as_csv(request, "campaigns", LINE_HEAD, rows)


@router.get("/campaigns/{dag_id}", dependencies=[READS_DAG])
def campaign(request: Request, dag_id: str, tranche: Tranche = "", run_id: Tranche = "") -> Response:
    """One campaign: a tranche of it, named by itself or by the Airflow dag_run that used it last."""
    chosen = _chosen(dag_id, tranche, run_id)
    if chosen is None:
        return answers.page(request, "not_begun.html", dag_id=dag_id, run_id=run_id)
    found = _campaign(dag_id, chosen)
    plan = pinned.get(
        (dag_id, found.state.facts.tranche),
        lambda: yaml.safe_dump(wording.plain(found.plan), sort_keys=False, allow_unicode=True, width=100),
    )
    return answers.page(request, "campaign.html", page=found, now=found.at, plan=plan)


@router.get("/campaigns/{dag_id}/campaign.json", dependencies=[READS_DAG])
def campaign_json(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """The same for programs."""
    return answers.as_json(request, _campaign(dag_id, tranche))


def _campaign(dag_id: str, tranche: str) -> CampaignPage:
    found: CampaignPage = recent.get(
        ("campaign", dag_id, tranche),
        lambda: campaign_page(ledger(), dag_id, tranche or None, now=time.time()),
    )
    return found


@router.get("/campaigns/{dag_id}/report.html", dependencies=[READS_DAG])
def report_html(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """The report of a tranche, or of the whole campaign, as one file to keep or to send."""
    from include.reports.writing import as_html

    text, lasting = _report("html", dag_id, tranche, as_html)
    answer = answers.tagged(request, text, "text/html; charset=utf-8", lasting=lasting)
    answer.headers["content-disposition"] = f'attachment; filename="report_{dag_id}.html"'
    return answer


@router.get("/campaigns/{dag_id}/report.json", dependencies=[READS_DAG])
def report_json(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """The same for programs."""
    from include.reports.writing import as_json

    text, lasting = _report("json", dag_id, tranche, as_json)
    return answers.tagged(request, text, "application/json", lasting=lasting)


def _report(kind: str, dag_id: str, tranche: str, write: Callable[[Report], str]) -> tuple[bytes, bytes]:
    """Return a report as a file, and what it says whenever it is made."""
    from include.reports.writing import as_json

    def written() -> tuple[bytes, bytes]:
        report: Report = recent.get(("report", dag_id, tranche), lambda: _made_report(dag_id, tranche))
        lasting = as_json(replace(report, made_at=0.0)).encode()
        return write(report).encode("utf-8", "backslashreplace"), lasting

    found: tuple[bytes, bytes] = recent.get(("report", kind, dag_id, tranche), written)
    return found


def _made_report(dag_id: str, tranche: str) -> Report:
    from include.reports.campaign import campaign_report

    # Refuses before the report does: its words are for who has the ledger, and name other campaigns.
    chosen_tranche(dag_id, tranche, [each[0] for each in ledger().tranche_list(dag_id)])
    return campaign_report(ledger(), dag_id, now=time.time(), tranche=tranche or None)


@router.get("/campaigns/{dag_id}/curve.json", dependencies=[READS_DAG])
def curve_json(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """Percent complete against time, for the chart."""
    return answers.as_json(request, _curves(dag_id, tranche))


@router.get("/campaigns/{dag_id}/curve.csv", dependencies=[READS_DAG])
def curve_csv(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """The same as a table: one row a moment, one column a stage."""
    found = _curves(dag_id, tranche)
    moments = [at for at, _ in found[0].points] if found else []
    rows = [[wording.iso(at), *(curve.points[n][1] for curve in found)] for n, at in enumerate(moments)]
    return answers.as_csv(request, f"{dag_id}-curve", ["time", *(curve.stage for curve in found)], rows)


def _curves(dag_id: str, tranche: str) -> Any:
    return recent.get(
        ("curves", dag_id, tranche),
        lambda: campaign_curves(ledger(), dag_id, tranche or None, now=time.time()),
    )


@router.get("/campaigns/{dag_id}/slices.csv", dependencies=[READS_DAG])
def slices_csv(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """One row a slice and stage."""
    found = _campaign(dag_id, tranche)
    rows = [
        [line.run, stage, bar.subruns, *(getattr(bar, part) for part in wording.PART_NAMES)]
        for line in found.slices
        for stage, bar in line.cells
    ]
    return answers.as_csv(request, f"{dag_id}-slices", ["run", "stage", "subruns", *wording.PART_NAMES], rows)


@router.get("/campaigns/{dag_id}/triage", dependencies=[READS_DAG])
def triage(
    request: Request, dag_id: str, edits: EditableDags, tranche: Tranche = "", run_id: Tranche = ""
) -> Response:
    """Why jobs of a tranche failed, and what may be done."""
    chosen = _chosen(dag_id, tranche, run_id)
    if chosen is None:
        return answers.page(request, "not_begun.html", dag_id=dag_id, run_id=run_id)
    found = _failures(dag_id, chosen)
    return answers.page(request, "triage.html", page=found, now=found.at, may_edit=dag_id in edits)


@router.get("/campaigns/{dag_id}/triage.json", dependencies=[READS_DAG])
def triage_json(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """The same for programs."""
    return answers.as_json(request, _failures(dag_id, tranche))


def _failures(dag_id: str, tranche: str) -> FailuresPage:
    found: FailuresPage = recent.get(
        ("failures", dag_id, tranche),
        lambda: failures_page(ledger(), dag_id, tranche or None, now=time.time()),
    )
    return found


@router.get("/campaigns/{dag_id}/triage.csv", dependencies=[READS_DAG])
def triage_csv(request: Request, dag_id: str, tranche: Tranche = "") -> Response:
    """One row a group of failures."""
    found = _failures(dag_id, tranche)
    head = [
        "stage",
        "category",
        "rule",
        "cause",
        "jobs",
        "subruns",
        "remedy",
        "advice",
        "evidence",
        "unusual",
    ]
    rows = [
        [one.stage, one.category, one.rule, one.cause, one.jobs, one.subruns, one.remedy.value, one.advice,
         one.example.diagnosis.evidence, "; ".join(one.unusual)]
        for one in found.groups
    ]  # fmt: skip
    return answers.as_csv(request, f"{dag_id}-triage", head, rows)
