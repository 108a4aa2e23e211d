"""An auth manager that gives each user some DAGs, as those of large sites do."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

READS = {
    "ann": {"demo.z", "demo.quiet", "demo.new"},
    "bob": {"demo.z"},
    "cat": {"demo.z", "etl.daily"},
    "dan": {"demo.z", "demo.quiet"},
}
EDITS = {"ann": {"demo.z", "demo.quiet"}, "bob": set[str](), "cat": {"etl.daily"}, "dan": set[str]()}
HIDDEN = {("cat", "TASK_LOGS"): {"demo.z"}, ("dan", "TASK_INSTANCE"): {"demo.z"}}
"""DAGs of which a user may see all but this."""


class NarrowAuthManager(SimpleAuthManager):
    """Lets nobody see demo.secret."""

    def is_authorized_dag(
        self,
        *,
        method: Any,
        user: Any,
        access_entity: Any = None,
        details: Any = None,
    ) -> bool:
        if details is None or details.id is None:
            return True
        name = user.get_name()
        hidden = HIDDEN.get((name, access_entity.value), set()) if access_entity else set()
        allowed = READS if method == "GET" else EDITS
        return details.id in allowed[name] - hidden
