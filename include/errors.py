"""Every exception prodsys raises on purpose.

ProdsysError
├── SpecError             a campaign file is wrong; carries file, line and column
│   └── SpecErrors        several of them at once
├── PlanError             a dag_run's plan has not what is asked of it, or is of another version
├── RunRangeError         run numbers are used up or taken
├── SubmissionError
│   ├── SubmissionRefused   the batch system said no: nothing was submitted
│   └── SubmissionAmbiguous not known yet whether jobs exist; a next try submits only if the tag proves absent
├── PoolError
│   └── ScheddUnreachable   no answer, which proves nothing about the jobs
│       ├── ScheddUnlisted  the collector answers, and lists no such schedd
│       └── JobsUnreachable it has a submission's jobs; carries the tag
├── LedgerError           the bookkeeping database refused or contradicts itself
│   └── LedgerUnavailable   it cannot be reached or is busy: trying again helps
├── LogsError             the logs' database refused or contradicts itself, or a question to it is wrong
│   ├── LogsUnavailable     it cannot be reached or is busy: trying again helps
│   └── NoSuchLog           there is no log of that id
├── PostRefused           what a job sent to the log server is not taken; carries reason and HTTP status
├── AirflowUnreachable    Airflow's REST API gave no usable answer: nothing is known of its dag_runs
├── StorageError          an area cannot be read or written
└── MissingTool           a program that is needed is not there; says the command that brings it
"""

from __future__ import annotations


class ProdsysError(Exception):
    """Base of all errors raised on purpose; its text is for the operator."""


class SpecError(ProdsysError):
    """A campaign file is wrong at one place."""

    def __init__(
        self, message: str, *, file: str, line: int | None = None, column: int | None = None, hint: str = ""
    ) -> None:
        self.message, self.file, self.line, self.column, self.hint = message, file, line, column, hint
        where = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{where}: {message}" + (f" ({hint})" if hint else ""))


class SpecErrors(SpecError):
    """A campaign file is wrong at several places; `errors` holds each."""

    def __init__(self, errors: tuple[SpecError, ...]) -> None:
        first = errors[0]
        super().__init__(
            first.message, file=first.file, line=first.line, column=first.column, hint=first.hint
        )
        self.errors = errors
        self.args = ("\n".join(str(error) for error in errors),)


class PlanError(ProdsysError):
    """The plan that a dag_run began with has not what is asked of it, or this prodsys cannot read it."""


class RunRangeError(ProdsysError):
    """The campaign's run range is used up, or a run is taken by another campaign."""


class SubmissionError(ProdsysError):
    """A submission did not go through."""


class SubmissionRefused(SubmissionError):
    """The batch system refused: nothing was submitted."""


class SubmissionAmbiguous(SubmissionError):
    """Not known yet whether jobs exist; a next try submits only if every schedd answers: no such tag."""


class PoolError(ProdsysError):
    """The HTCondor pool could not be asked, started or stopped."""


class ScheddUnreachable(PoolError):
    """A schedd or collector gave no answer, which proves nothing about its jobs."""


class ScheddUnlisted(ScheddUnreachable):
    """The collector answers and lists no such schedd: it is down, or there never was one of that name."""


class JobsUnreachable(ScheddUnreachable):
    """A schedd that has jobs of a submission gave no answer: how they stand is to be seen when it does."""

    def __init__(self, message: str, *, tag: str) -> None:
        super().__init__(message)
        self.tag = tag


class LedgerError(ProdsysError):
    """The ledger refused a record or contradicts itself."""


class LedgerUnavailable(LedgerError):
    """The ledger's database cannot be reached or is busy; nothing was written, and trying again helps."""


class LogsError(ProdsysError):
    """The logs' database refused or contradicts itself, or a question to it is wrong."""


class LogsUnavailable(LogsError):
    """The log server's database cannot be reached or is busy; nothing was written, and trying again helps."""


class NoSuchLog(LogsError):
    """There is no log of that id: it expired, or never was."""


class PostRefused(ProdsysError):
    """What a job sent is not taken: why in one word, which is counted, and in one sentence."""

    def __init__(self, reason: str, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.reason, self.status = reason, status


class AirflowUnreachable(ProdsysError):
    """Airflow's REST API gave no usable answer, which says nothing about its dag_runs."""


class StorageError(ProdsysError):
    """A storage area cannot be read or written."""


class MissingTool(ProdsysError):
    """A program or package is not there; the text has the command that brings it."""
