"""Who may see and do what: Airflow's own users and its auth manager's word on each DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod

ANY_DAG = "~"
"""Stands for all DAGs in Airflow's REST API, whose own dependency then asks about none; no name here."""


def visible_dags(user: GetUserDep) -> frozenset[str]:
    """Return the ids of the DAGs that the user may see."""
    return frozenset(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def editable_dags(user: GetUserDep) -> frozenset[str]:
    """Return the ids of the DAGs that the user may edit."""
    return frozenset(get_auth_manager().get_authorized_dag_ids(user=user, method="PUT"))


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


def _asks(method: ResourceMethod, entity: DagAccessEntity) -> Callable[[str, GetUserDep], None]:
    """Return a dependency of routes with {dag_id} that refuses who may not do this to the DAG."""

    def ask(dag_id: str, user: GetUserDep) -> None:
        if dag_id == ANY_DAG:
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"{ANY_DAG} is no campaign")
        if not _may(user, dag_id, method, entity):
            raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden")

    return ask


def _may(user: GetUserDep, dag_id: str, method: ResourceMethod, entity: DagAccessEntity) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=entity, details=details, user=user
    )


VisibleDags = Annotated[frozenset[str], Depends(visible_dags)]
EditableDags = Annotated[frozenset[str], Depends(editable_dags)]
UserName = Annotated[str, Depends(user_name)]

READS_DAG = Depends(_asks("GET", DagAccessEntity.TASK_INSTANCE))
"""For routes with {dag_id}: refuses who may not see the DAG's tasks."""
READS_LOGS = Depends(_asks("GET", DagAccessEntity.TASK_LOGS))
ANSWERS = Depends(_asks("PUT", DagAccessEntity.HITL_DETAIL))
SAME_ORIGIN = Depends(same_origin)

__all__ = [
    "ANSWERS", "READS_DAG", "READS_LOGS", "SAME_ORIGIN", "EditableDags", "UserName", "VisibleDags",
]  # fmt: skip
