"""Routes that act: answer a question, exclude a node, lift an exclusion. POST only, from these pages only."""

from __future__ import annotations

import logging
import time
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse

from include.bookkeeping.records import ActionRecord, Exclusion
from include.campaign.states import ActionKind
from include.campaign.units import parse_time
from include.errors import LedgerError
from prodsys_operators.pages.access import ANSWERS, SAME_ORIGIN, UserName, may_act_on_nodes
from prodsys_operators.pages.source import ledger, recent
from prodsys_operators.recover import OPTIONS
from prodsys_operators.scope import SLICE_GROUP

log = logging.getLogger(__name__)
router = APIRouter(dependencies=[SAME_ORIGIN])

LONGEST_S = 90 * 86400
ShortText = Annotated[str, Form(max_length=500)]
Kind = Annotated[str, Form(pattern="^(node|site)$")]


@router.post("/campaigns/{dag_id}/answer", dependencies=[ANSWERS])
def answer(  # noqa: PLR0913  each is a field of the form
    request: Request,
    dag_id: str,
    *,
    user: GetUserDep,
    session: SessionDep,
    dag_run_id: ShortText,
    tranche: ShortText,
    stage: ShortText,
    slice_index: Annotated[int, Form(ge=0)],
    choice: ShortText,
) -> RedirectResponse:
    """Answer the question of a stage's recover task, as its required action in Airflow does.

    The task, once it goes on, writes the answer with the user's name into the ledger.
    """
    if choice not in OPTIONS:
        raise HTTPException(422, f"{choice!r} is none of {', '.join(OPTIONS)}")
    update_hitl_detail(
        dag_id=dag_id,
        dag_run_id=dag_run_id,
        task_id=f"{SLICE_GROUP}.{stage}.recover",
        update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[choice], params_input={}),
        user=user,
        session=session,
        map_index=slice_index,
    )
    # As the form sent it: quoted, its newlines make no lines of their own.
    log.info("%s, %r, %r: %s answered %r", dag_id, tranche, stage, user.get_name(), choice)
    recent.clear()
    base = request.scope.get("root_path", "")
    place = (
        f"{base}/campaigns/{quote(dag_id, safe='')}/triage?tranche={quote(tranche, safe='')}&told=answered"
    )
    return RedirectResponse(place, status_code=303)


@router.post("/nodes/exclude", dependencies=[Depends(may_act_on_nodes)])
def exclude(
    request: Request, who: UserName, kind: Kind, name: ShortText, why: ShortText, lasts: ShortText = "24 h"
) -> RedirectResponse:
    """Send no more jobs to a node or a site for a while."""
    now = time.time()
    reason = " ".join(why.split())
    if not reason:
        raise HTTPException(422, "Say why, for everybody to read.")
    wanted = Exclusion(
        kind=kind, name=name.strip(), since=now, until=now + _seconds(lasts), by=who, reason=reason
    )
    try:
        kept = ledger().exclude(wanted)
    except LedgerError as error:
        raise HTTPException(422, str(error)) from error
    _note(ActionKind.EXCLUDE, f"exclude {kind} {kept.name} for {lasts}: {reason}", who=who, now=now)
    return _to_nodes(request)


@router.post("/nodes/lift", dependencies=[Depends(may_act_on_nodes)])
def lift(request: Request, who: UserName, kind: Kind, name: ShortText) -> RedirectResponse:
    """End an exclusion now."""
    now = time.time()
    if ledger().lift(kind, name, who, now) is None:
        raise HTTPException(404, f"{kind} {name} is not excluded any more.")
    _note(ActionKind.LIFT, f"lift {kind} {name}", who=who, now=now)
    return _to_nodes(request)


def _seconds(text: str) -> int:
    try:
        seconds = parse_time(text)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    if not 60 <= seconds <= LONGEST_S:
        raise HTTPException(422, f"{text} is not between a minute and {LONGEST_S // 86400} days.")
    return seconds


def _note(kind: ActionKind, detail: str, *, who: str, now: float) -> None:
    ledger().record_action(
        ActionRecord(
            at=now, who=who, kind=kind, dag_id="", tranche="", run=None, stage="", tag="", detail=detail
        )
    )
    recent.clear()


def _to_nodes(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/nodes", status_code=303)
