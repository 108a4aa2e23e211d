"""An auth manager that gives each user some DAGs, as those of large sites do."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

READS = {"ann": {"demo.z", "demo.quiet"}, "bob": {"demo.z"}}
EDITS = {"ann": {"demo.z", "demo.quiet"}, "bob": set[str]()}


class NarrowAuthManager(SimpleAuthManager):
    """Lets nobody see demo.secret."""

    def is_authorized_dag(
        self,
        *,
        method: Any,
        user: Any,
        access_entity: Any = None,  # noqa: ARG002  the manager's own name for it
        details: Any = None,
    ) -> bool:
        allowed = READS if method == "GET" else EDITS
        return details is None or details.id is None or details.id in allowed[user.get_name()]
