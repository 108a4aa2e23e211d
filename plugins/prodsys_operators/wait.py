"""Wait for a submission's jobs without holding a worker."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import StartTriggerArgs

from prodsys_operators.triggers import SubmissionTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

LIMIT = dt.timedelta(days=30)
"""No wait lasts for ever: whatever the reason, it comes back to a person after this."""
TRIGGER = f"{SubmissionTrigger.__module__}.{SubmissionTrigger.__qualname__}"


class WaitOperator(BaseOperator):
    """Ends when every job of the submission has ended, is held for too long, or is proven to be unknown.

    It starts and ends in the triggerer: no worker runs unless jobs are held and something may be done about
    it. `ti.map_index` is needed in the template, else the wait would pull the XComs of every slice at once
    and stay deferred for ever.
    """

    template_fields: Sequence[str] = ("tag",)
    ui_color = "#e8e0f5"
    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls=TRIGGER, next_method="resume", trigger_kwargs={"tag": ""}
    )

    def __init__(self, *, submit_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tag = f"{{{{ ti.xcom_pull(task_ids='{submit_task_id}', map_indexes=ti.map_index)['tag'] }}}}"
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=TRIGGER, next_method="resume", trigger_kwargs={"tag": self.tag}, timeout=LIMIT
        )

    def execute(self, context: Context) -> Any:  # noqa: ARG002
        """Defer at once; reached only where tasks cannot start in a triggerer, as in `dag.test()`."""
        self.defer(trigger=SubmissionTrigger(tag=self.tag), method_name="resume", timeout=LIMIT)

    def resume(self, context: Context, event: Any = None) -> Any:  # noqa: ARG002
        """Act on held jobs and wait on; hand on what the trigger found where the wait is over."""
        if not isinstance(event, dict) or event.get("over", True):
            return event
        from prodsys_operators.holds import look_at_holds

        trigger = look_at_holds(event, ends_task=True, log=self.log)
        return self.defer(trigger=trigger, method_name="resume", timeout=LIMIT)
