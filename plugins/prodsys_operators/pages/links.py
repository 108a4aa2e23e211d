"""Links from task instances to the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from prodsys_operators.pages.mount import PREFIX

if TYPE_CHECKING:
    from airflow.sdk.bases.operator import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

OURS = "prodsys_operators"


class _PageLink(BaseOperatorLink):
    """A link to a page about the task instance's dag_run; empty for tasks that are not prodsys's."""

    page = ""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address below the UI's own."""
        if not _is_ours(operator):
            return ""
        run = quote(ti_key.run_id, safe="")
        return f"{PREFIX}/campaigns/{quote(ti_key.dag_id, safe='')}{self.page}?run_id={run}"


class CampaignLink(_PageLink):
    """To the campaign's page."""

    name = "Campaign"


class TriageLink(_PageLink):
    """To what failed, and why."""

    name = "Triage"
    page = "/triage"


def _is_ours(operator: object) -> bool:
    module = getattr(operator, "_task_module", None) or type(operator).__module__
    return str(module).startswith(OURS)
