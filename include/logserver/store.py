"""The store of logs: what the server writes to, and what pages and commands read from."""

from __future__ import annotations

from include.logserver.retention import LogRetention
from include.logserver.searching import LogSearching


class LogStore(LogRetention, LogSearching):
    """All logs that jobs sent, in one database; safe to use from several threads and processes.

    What people are shown comes from `logs`, `log`, `tail`, `since`, `whole`, `search` and `refusals`: lines
    there are plain text without control characters, and all else that a job said is cleaned too. It is still
    text: a page must escape it. LogsError for a question that is wrong, LogsUnavailable where the database
    does not answer.
    """
