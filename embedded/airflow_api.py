"""The few calls of Airflow's REST API that the demo and the tests need."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import httpx

from include.errors import ProdsysError

if TYPE_CHECKING:
    from embedded.deployment import Deployment

FINAL = {"success", "failed"}
POLL_S = 2.0
MOST_WORDS = 2_000
TRIES = 5
"""Of an act. On SQLite Airflow 3.3's api-server can lock itself out for 5 s and then answers with 500: an
audit entry waits for the lock in the event loop, without which the request that holds it cannot commit.
"""


class AirflowApi:
    """A client of one deployment's Airflow."""

    def __init__(self, deployment: Deployment) -> None:
        # psycopg under load and a just started api-server can drop a connection once.
        self._client = httpx.Client(
            base_url=f"{deployment.url}/api/v2",
            headers={"Authorization": f"Bearer {deployment.token()}"},
            timeout=60,
            transport=httpx.HTTPTransport(retries=3),
        )

    def __enter__(self) -> Self:
        """Return the client; its connections end with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the JSON of a GET."""
        answer = self._client.get(path, params=params)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            answer = self._client.get(path, params=params)
        result: dict[str, Any] = _accepted(answer).json()
        return result

    def _act(self, method: str, path: str, content: dict[str, Any] | None = None) -> None:
        """Send what changes something, again where Airflow's database was locked."""
        for number in range(TRIES):
            answer = self._client.request(method, path, json=content)
            if number and answer.status_code == httpx.codes.CONFLICT:
                return  # it was done, whatever the answer before this said
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                break
        _accepted(answer)

    def trigger(self, dag_id: str, *, logical_date: datetime | None = None, **conf: Any) -> str:
        """Start a dag_run and return its id."""
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        content: dict[str, Any] = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        if logical_date is not None:
            content["logical_date"] = logical_date.isoformat()
        self._act("POST", f"/dags/{dag_id}/dagRuns", content)
        return run_id

    def backfill(self, dag_id: str, first: datetime, last: datetime) -> None:
        """Start a backfill of the DAG's intervals that begin from `first` to `last`."""
        dates = {"from_date": first.isoformat(), "to_date": last.isoformat()}
        self._act("POST", "/backfills", {"dag_id": dag_id, **dates, "max_active_runs": 1})

    def wait_for_dag(self, dag_id: str, *, limit_s: float) -> None:
        """Wait until the dag-processor has the DAG; its import error, if it has one, is raised."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                self.get(f"/dags/{dag_id}")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
            else:
                return
            errors = self.get("/importErrors", limit=100)["import_errors"]
            mine = [item for item in errors if item["filename"].endswith(dag_id.replace(".", "/") + ".py")]
            if mine:
                raise ProdsysError(f"{dag_id}: {mine[0]['stack_trace']}")
            time.sleep(POLL_S)
        raise ProdsysError(f"the dag-processor has not shown {dag_id} after {limit_s:.0f} s")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a dag_run."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100, offset=len(rows))
            rows += page["task_instances"]
            if len(rows) >= page["total_entries"] or not page["task_instances"]:
                return rows

    def follow(self, dag_id: str, run_id: str, *, limit_s: float, on_change: Any = None) -> str:
        """Wait for a dag_run's end and return its state; ProdsysError after `limit_s` seconds."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            state = str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if on_change is not None:
                on_change()
            if state in FINAL:
                return state
            time.sleep(POLL_S)
        parts = {name: part["status"] for name, part in self.health().items() if part["status"]}
        raise ProdsysError(f"{dag_id} {run_id} has not ended after {limit_s:.0f} s; Airflow: {parts}")

    def log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1) -> str:
        """Return a task's log as text lines."""
        page = self.get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            map_index=map_index,
            full_content=True,
        )
        return "\n".join(_line(item) for item in page["content"])

    def clear(self, dag_id: str, run_id: str, task_ids: list[str]) -> None:
        """Clear tasks of a dag_run, as an operator does in the UI."""
        content = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._act("POST", f"/dags/{dag_id}/clearTaskInstances", content)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int) -> None:
        """Mark a task instance failed or as success, as an operator does in the UI."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}"
        self._act("PATCH", path, {"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a dag_run failed or as success, as an operator does in the UI."""
        self._act("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def health(self) -> dict[str, dict[str, Any]]:
        """Return what Airflow says of its parts: name → status and latest heartbeat."""
        return self.get("/monitor/health")

    def wait_for_heartbeat(self, *, limit_s: float) -> None:
        """Wait until the scheduler has begun a new round, which starts after each of its heartbeats."""
        before, deadline = self._heartbeat(), time.monotonic() + limit_s
        while self._heartbeat() == before:
            if time.monotonic() > deadline:
                raise ProdsysError(f"no heartbeat of the scheduler in {limit_s:.0f} s after {before}")
            time.sleep(POLL_S)

    def _heartbeat(self) -> str | None:
        beat: str | None = self.health()["scheduler"]["latest_scheduler_heartbeat"]
        return beat

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a dag_run, as an operator does in the UI."""
        self._act("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")

    def question(self, dag_id: str, run_id: str, task_id: str, *, map_index: int) -> dict[str, Any] | None:
        """Return a task's required action, answered or not; None where it has none."""
        try:
            return self.get(self._question(dag_id, run_id, task_id, map_index))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def answer(self, dag_id: str, run_id: str, task_id: str, *, map_index: int, option: str) -> None:
        """Answer a task's required action, as a person does in the UI, once the task waits for it.

        Airflow 3.3 forgets an answer that comes before: the task then waits for ever.
        """
        place, deadline = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", time.monotonic() + 60
        while self.get(f"{place}/{map_index}")["state"] != "awaiting_input" and time.monotonic() < deadline:
            time.sleep(POLL_S)
        content = {"chosen_options": [option], "params_input": {}}
        self._act("PATCH", self._question(dag_id, run_id, task_id, map_index), content)

    def _question(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
        return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"


def _accepted(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is no error; HTTPStatusError with Airflow's own words otherwise."""
    try:
        return answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        words = f"{error}\nAirflow says: {answer.text[:MOST_WORDS]}"
        raise httpx.HTTPStatusError(words, request=error.request, response=answer) from None


def _line(item: Any) -> str:
    """Return one entry of a task log as text, its exception included."""
    if not isinstance(item, dict):
        return str(item)
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in item.get("error_detail") or []]
    return "\n".join([str(item.get("event", item)), *errors])
