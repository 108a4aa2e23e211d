"""Who may see and do what: Airflow's own users and its auth manager's word on each DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, status

from prodsys_operators.pages.source import ledger, recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest

ANY_DAG = "~"
"""Stands for all DAGs in Airflow's REST API, whose own dependency then asks about none; no name here."""


SEEN = (None, DagAccessEntity.TASK_INSTANCE)
"""What lists and a campaign's own page show: the DAG, and how its tasks stand."""


def visible_dags(user: GetUserDep) -> frozenset[str]:
    """Return the campaigns whose pages the user may see."""
    manager = get_auth_manager()
    found = _campaigns() & manager.get_authorized_dag_ids(user=user, method="GET")
    if not found:
        return found
    teams = DagModel.get_dag_id_to_team_name_mapping(list(found))
    questions: list[IsAuthorizedDagRequest] = [
        {
            "method": "GET",
            "access_entity": DagAccessEntity.TASK_INSTANCE,
            "details": DagDetails(id=dag_id, team_name=teams.get(dag_id)),
        }
        for dag_id in sorted(found)
    ]
    # Nearly everybody may see the tasks of all DAGs that they see: managers answer that at once.
    if manager.batch_is_authorized_dag(questions, user=user):
        return found
    return frozenset(
        dag_id
        for dag_id, question in zip(sorted(found), questions, strict=True)
        if manager.is_authorized_dag(**question, user=user)
    )


def editable_dags(user: GetUserDep) -> frozenset[str]:
    """Return the campaigns whose DAGs the user may edit."""
    return _campaigns() & get_auth_manager().get_authorized_dag_ids(user=user, method="PUT")


def _campaigns() -> frozenset[str]:
    found: frozenset[str] = recent.get("names", lambda: frozenset(ledger().campaigns()))
    return found


def user_name(user: GetUserDep) -> str:
    """Return the name under which what the user does is recorded."""
    return user.get_name()


def same_origin(request: Request) -> None:
    """Refuse a form that another site made the browser send; the session's cookie is SameSite=Lax besides."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    elif (origin := request.headers.get("origin")) is not None:
        if urlsplit(origin).netloc == request.headers.get("host"):
            return
    elif request.headers.get("authorization"):
        return  # a program with a token of its own, not a browser with a cookie
    raise HTTPException(
        status.HTTP_403_FORBIDDEN, "This form did not come from this site; open the page again and repeat it."
    )


def may_act_on_nodes(edits: EditableDags) -> None:
    """Refuse users who may edit no campaign: nodes belong to all of them."""
    if not edits:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You may not edit any campaign, so no node either.")


def _asks(method: ResourceMethod, *entities: DagAccessEntity | None) -> Callable[[str, GetUserDep], None]:
    """Return a dependency of routes with {dag_id} that refuses who may not do this to the DAG."""

    def ask(dag_id: str, user: GetUserDep) -> None:
        if dag_id == ANY_DAG:
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"{ANY_DAG} is no campaign")
        if not _may(user, dag_id, method, *entities):
            raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden")

    return ask


def _may(user: GetUserDep, dag_id: str, method: ResourceMethod, *entities: DagAccessEntity | None) -> bool:
    manager = get_auth_manager()
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return all(
        manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
        for entity in entities
    )


def reads_logs(dag_id: str, user: GetUserDep) -> bool:
    """Return whether the user may read the logs of the DAG's tasks, beside what READS_DAG asks."""
    return _may(user, dag_id, "GET", DagAccessEntity.TASK_LOGS)


VisibleDags = Annotated[frozenset[str], Depends(visible_dags)]
EditableDags = Annotated[frozenset[str], Depends(editable_dags)]
UserName = Annotated[str, Depends(user_name)]
ReadsLogs = Annotated[bool, Depends(reads_logs)]

READS_DAG = Depends(_asks("GET", *SEEN))
"""For routes with {dag_id}: refuses who may not see the DAG and its tasks."""
READS_LOGS = Depends(_asks("GET", DagAccessEntity.TASK_LOGS))
ANSWERS = Depends(_asks("PUT", DagAccessEntity.HITL_DETAIL))
SAME_ORIGIN = Depends(same_origin)

__all__ = [
    "ANSWERS", "READS_DAG", "READS_LOGS", "SAME_ORIGIN", "EditableDags", "ReadsLogs", "UserName",
    "VisibleDags",
]  # fmt: skip
