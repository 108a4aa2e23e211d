"""Airflow's dag_runs through its REST API, for commands that run outside Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from include.campaign.naming import interval_of
from include.errors import AirflowUnreachable
from include.recovery.orphans import AirflowRun

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 100
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowAccess:
    """How to reach one Airflow: by a token, or by a user's name and password."""

    url: str
    """Of the api-server, such as http://127.0.0.1:8080."""
    token: str = ""
    user: str = ""
    password: str = ""


class AirflowRuns:
    """Implements `Runs`; every method raises AirflowUnreachable where there is no usable answer."""

    def __init__(self, access: AirflowAccess) -> None:
        self._access = access
        self._client = httpx.Client(
            base_url=access.url.rstrip("/"), timeout=TIMEOUT_S, transport=httpx.HTTPTransport(retries=3)
        )
        self._token = access.token

    def __enter__(self) -> Self:
        """Return itself; its connections end with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
        """See Runs."""
        dag = f"/api/v2/dags/{quote(dag_id, safe='')}"
        path = f"{dag}/dagRuns/{quote(run_id, safe='')}"
        found = self._get(path)
        if found is None:
            # A DAG that is gone too may only be hidden from this user, or not parsed yet.
            if self._get(dag) is None:
                raise AirflowUnreachable(f"Airflow at {self._access.url} has no DAG {dag_id}")
            found = self._under_way(dag, tranche)
            if found is None:
                return AirflowRun(state=None)
            path = f"{dag}/dagRuns/{quote(str(found['dag_run_id']), safe='')}"
        return AirflowRun(state=str(found["state"]), tasks=self._tasks(path))

    def _under_way(self, dag: str, tranche: str) -> dict[str, Any] | None:
        """Return a dag_run of the tranche's interval that has not ended: it takes over what was left.

        One by hand has a tranche of its own, whatever its logical date.
        """
        start = interval_of(tranche)
        if start is None:
            return None
        at = start.isoformat()
        wanted = {"state": ["queued", "running"], "run_type": ["scheduled", "backfill"]}
        page = self._get(f"{dag}/dagRuns", logical_date_gte=at, logical_date_lte=at, limit=1, **wanted)
        return page["dag_runs"][0] if page and page["dag_runs"] else None

    def _tasks(self, dag_run: str) -> dict[tuple[str, int], str | None]:
        tasks: dict[tuple[str, int], str | None] = {}
        offset = 0
        while True:
            page = self._get(f"{dag_run}/taskInstances", limit=PAGE, offset=offset)
            rows = page["task_instances"] if page else []
            tasks.update({(row["task_id"], row["map_index"]): row["state"] for row in rows})
            offset += len(rows)
            if not page or not rows or offset >= page["total_entries"]:
                return tasks

    def _get(self, path: str, **params: Any) -> dict[str, Any] | None:
        """Return the JSON of a GET; None for what Airflow does not have."""
        answer = self._answer(lambda: self._client.get(path, params=params, headers=self._headers()))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._json(answer)

    def _headers(self) -> dict[str, str]:
        if not self._token:
            words = {"username": self._access.user, "password": self._access.password}
            answer = self._answer(lambda: self._client.post("/auth/token", json=words))
            self._token = str(self._json(answer).get("access_token", ""))
        return {"Authorization": f"Bearer {self._token}"}

    def _answer(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            return ask()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"no answer from Airflow at {self._access.url}: {error}"
            raise AirflowUnreachable(message) from error

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        """Return a good answer's JSON object."""
        where = f"Airflow at {self._access.url}, {answer.request.url.path}"
        if answer.is_error:
            words = " ".join(answer.text[:200].split())
            raise AirflowUnreachable(f"{where}: {answer.status_code} {answer.reason_phrase}: {words}")
        try:
            found = answer.json()
        except ValueError as error:
            raise AirflowUnreachable(f"{where}: the answer is not JSON: is this an Airflow?") from error
        if not isinstance(found, dict):
            raise AirflowUnreachable(f"{where}: the answer is not a JSON object")
        return found
