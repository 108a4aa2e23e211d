"""Clean up after one slice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from include.bookkeeping.admission_story import left_behind
from prodsys_operators.scope import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CleanupOperator(SliceOperator):
    """Calls the campaign's cleanup script, and removes what the ledger says is safe to remove."""

    ui_color = "#eeeeee"

    def execute(self, context: Context) -> dict[str, int]:
        """Return how many files were removed, and their bytes."""
        from include.data.cleanup import clean
        from include.data.storage import PosixStorage

        with self.scope(context) as scope:
            result = clean(
                scope.plan, run=scope.slice.run, ledger=scope.ledger, storage=PosixStorage(), now=time.time()
            )
            if result.good:
                item = scope.slice
                left = scope.ledger.finish_slice(item.dag_id, item.tranche, item.run, now=time.time())
                for line in left_behind(left):
                    self.log.warning("%s", line)
        if result.script is not None:
            self.log.info("cleanup script: exit code %s\n%s", result.script.exit_code, result.script.output)
        for sentence in result.refused:
            self.log.warning("left where it is: %s", sentence)
        self.log.info(
            "%d files removed, %.1f MB; %d were gone", result.removed, result.bytes / 1e6, result.gone
        )
        if not result.good:
            raise AirflowFailException("cleanup is not complete; nothing is lost, clear this task to go on")
        return {"removed": result.removed, "bytes": result.bytes, "gone": result.gone}
