"""Routes: nodes, single jobs with their logs, and the search."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from include.progress.job import job_page
from include.progress.job_events import job_events
from include.progress.job_log import FileLogs
from include.progress.node_list import nodes_page
from include.progress.search import search
from include.progress.sent_logs import FirstThatHas, SentLogs
from prodsys_operators.pages import answers, wording
from prodsys_operators.pages.access import READS_DAG, READS_LOGS, EditableDags, ReadsLogs, VisibleDags
from prodsys_operators.pages.source import ledger, logs, recent

if TYPE_CHECKING:
    from include.bookkeeping.overview_records import JobPlace
    from include.progress.job import JobPage
    from include.progress.job_events import JobEvents
    from include.progress.job_log import JobLogSource, LogTail
    from include.progress.node_list import NodesPage

router = APIRouter()

Id = Annotated[int, Path(ge=0, le=2**62)]
Process = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get("/nodes")
def nodes(request: Request, visible: VisibleDags, edits: EditableDags) -> Response:
    """Nodes, suspicions and exclusions."""
    found = _nodes(visible)
    return answers.page(request, "nodes.html", page=found, now=found.at, may_edit=bool(edits))


@router.get("/nodes.json")
def nodes_json(request: Request, visible: VisibleDags) -> Response:
    """The same for programs."""
    return answers.as_json(request, _nodes(visible))


@router.get("/nodes.csv")
def nodes_csv(request: Request, visible: VisibleDags) -> Response:
    """One row a node."""
    found = _nodes(visible)
    head = ["node", "site", "good", "bad", "bad_fast", "chance", "suspicion", "cvmfs", "excluded_until"]
    rows = [
        [line.host, line.site, line.good, line.bad, line.bad_fast, line.chance, line.suspicion,
         " ".join(f"{name}:{revision}" for name, revision in line.cvmfs), wording.iso(line.excluded_until)]
        for line in found.lines
    ]  # fmt: skip
    return answers.as_csv(request, "nodes", head, rows)


def _nodes(visible: frozenset[str]) -> NodesPage:
    found: NodesPage = recent.get(("nodes", visible), lambda: nodes_page(ledger(), visible, now=time.time()))
    return found


@router.get("/search")
def find(request: Request, visible: VisibleDags, q: Annotated[str, Query(max_length=300)] = "") -> Response:
    """From a job id, a run and subrun, or a file's name to the job; straight to it where there is one."""
    found = search(ledger(), q, visible=visible)
    if len(found.jobs) == 1:
        return RedirectResponse(_address(request, found.jobs[0]), status_code=303)
    return answers.page(request, "search.html", found=found)


@router.get("/campaigns/{dag_id}/job", dependencies=[READS_DAG])
def job_of_tag(
    request: Request,
    dag_id: str,
    tag: Annotated[str, Query(max_length=500)],
    process: Annotated[int, Query(ge=0)],
) -> Response:
    """The job that a submission's tag and process name."""
    place = ledger().place_of(dag_id, tag, min(process, 2**31 - 1))
    if place is None:
        raise HTTPException(404, f"{dag_id} has no process {process} of {tag}")
    return RedirectResponse(_address(request, place), status_code=303)


@router.get("/campaigns/{dag_id}/jobs/{submission_id}/{process}", dependencies=[READS_DAG])
def job(
    request: Request, dag_id: str, submission_id: Id, process: Process, *, reads_logs: ReadsLogs
) -> Response:
    """One job; its log's end only for who may read logs in Airflow."""
    found = _found(dag_id, submission_id, process)
    tail, events = (_tail(found), _events(found)) if reads_logs else (None, None)
    return answers.page(
        request, "job.html", page=found, now=found.at, tail=tail, events=events, reads_logs=reads_logs
    )


@router.get("/campaigns/{dag_id}/jobs/{submission_id}/{process}/job.json", dependencies=[READS_DAG])
def job_json(request: Request, dag_id: str, submission_id: Id, process: Process) -> Response:
    """The same for programs."""
    return answers.as_json(request, _found(dag_id, submission_id, process))


@router.get(
    "/campaigns/{dag_id}/jobs/{submission_id}/{process}/events.json", dependencies=[READS_DAG, READS_LOGS]
)
def events_json(request: Request, dag_id: str, submission_id: Id, process: Process) -> Response:
    """What HTCondor's event log says of the job."""
    found = _events(_found(dag_id, submission_id, process))
    if found is None:
        raise HTTPException(404, "No check has seen yet where this job's event log lies.")
    return answers.as_json(request, found)


@router.get("/campaigns/{dag_id}/jobs/{submission_id}/{process}/log", dependencies=[READS_DAG, READS_LOGS])
def job_log(dag_id: str, submission_id: Id, process: Process, execution: str = "") -> Response:
    """The whole log of an execution, by default the last one, as a file; it may not have reported yet."""
    found = _found(dag_id, submission_id, process)
    chosen = [each for each in found.executions if each.execution == execution or not execution]
    if execution and not chosen:
        raise HTTPException(404, f"This job has no execution {execution}.")
    pieces = _logs(found).whole(found.place, chosen[-1] if chosen else None)
    if pieces is None:
        raise HTTPException(
            404, "This log is not in the campaign's area of logs or on the log server, or not any more."
        )
    headers = {"content-disposition": f'attachment; filename="{found.place.submission_id}-{process}.log"'}
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


def _found(dag_id: str, submission_id: int, process: int) -> JobPage:
    found: JobPage | None = recent.get(
        ("job", dag_id, submission_id, process),
        lambda: job_page(ledger(), dag_id, submission_id, process, now=time.time()),
    )
    if found is None:
        raise HTTPException(404, f"{dag_id} has no process {process} of its submission {submission_id}")
    return found


def _events(page: JobPage) -> JobEvents | None:
    job = page.job
    if job is None:
        return None
    path = ledger().event_log_of(page.place.submission_id, job.schedd, job.cluster)
    if path is None:
        return None
    found: JobEvents = recent.get(
        ("events", page.place.submission_id, job.schedd, job.cluster, job.process),
        lambda: job_events(path, cluster=job.cluster, process=job.process),
    )
    return found


def _tail(page: JobPage) -> LogTail | None:
    last = page.executions[-1] if page.executions else None
    key = ("tail", page.place.submission_id, page.place.process, last.execution if last else "")
    found: LogTail | None = recent.get(key, lambda: _logs(page).tail(page.place, last))
    return found


def _logs(page: JobPage) -> JobLogSource:
    plan = ledger().plan_of(page.place.dag_id, page.place.tranche)
    # The file is whole; what the job sent is there earlier.
    return FirstThatHas([FileLogs([plan.logs, plan.outstage]), SentLogs(logs())])


def _address(request: Request, place: JobPlace) -> str:
    base = request.scope.get("root_path", "")
    return f"{base}/campaigns/{quote(place.dag_id, safe='')}/jobs/{place.submission_id}/{place.process}"
