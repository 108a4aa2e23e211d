"""What a job posts: one line of JSON, then bytes of its log. docs/log-server.md has it for readers."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from include.errors import PostRefused
from include.joblogs.text import clean, shorten
from include.logserver.records import BLOCK_BYTES, LARGEST_OFFSET, JobClaims, JobEnd, JobFacts, Post

MOST_HEAD = 16 << 10
"""Bytes of the first line."""
MOST_BODY = MOST_HEAD + 1 + BLOCK_BYTES
LONGEST_TEXT = 200
LARGEST = 2**53
"""Numbers that JSON's readers all take."""

Offset = Annotated[int, Field(ge=0, le=LARGEST_OFFSET)]
Number = Annotated[int, Field(ge=0, le=LARGEST)]
Text = Annotated[str, StringConstraints(max_length=4000)]
STRICT = ConfigDict(extra="forbid", strict=True)


class FactsModel(BaseModel):
    """`facts` of the first line."""

    model_config = STRICT
    cluster: Number | None = None
    process: Number | None = None
    schedd: Text | None = None
    global_job_id: Text | None = None
    host: Text | None = None
    site: Text | None = None
    first_subrun: Number | None = None
    last_subrun: Number | None = None
    node: dict[str, Any] = {}


class EndModel(BaseModel):
    """`end` of the first line."""

    model_config = STRICT
    exit_code: Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
    failed_at: Text | None = None
    error: Text | None = None


class HeadModel(BaseModel):
    """The first line."""

    model_config = STRICT
    version: Literal[1]
    execution: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    offset: Offset
    size: Offset
    facts: FactsModel | None = None
    end: EndModel | None = None


def parse_post(body: bytes, claims: JobClaims, *, at: float) -> Post:
    """Return what a job posted; PostRefused if it is not as the protocol wants it."""
    head, line, data = body.partition(b"\n")
    if not line or len(head) > MOST_HEAD:
        raise PostRefused("malformed", "the post does not begin with one line of JSON", status=400)
    if len(data) > BLOCK_BYTES:
        raise PostRefused("too-long", f"a post takes {BLOCK_BYTES} bytes of log at most", status=413)
    try:
        model = HeadModel.model_validate_json(head)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PostRefused(
            "malformed", f"{where or 'the first line'}: {first['msg']}", status=400
        ) from invalid
    end = None
    if model.end is not None:
        error = _text(model.end.error, limit=1000)
        end = JobEnd(exit_code=model.end.exit_code, failed_at=_text(model.end.failed_at), error=error)
    return Post(
        claims=claims,
        execution=model.execution,
        offset=model.offset,
        size=model.size,
        data=data,
        at=at,
        facts=None if model.facts is None else _facts(model.facts),
        end=end,
    )


def _facts(model: FactsModel) -> JobFacts:
    return JobFacts(
        cluster=model.cluster,
        process=model.process,
        schedd=_text(model.schedd),
        global_job_id=_text(model.global_job_id),
        host=_text(model.host),
        site=_text(model.site),
        first_subrun=model.first_subrun,
        last_subrun=model.last_subrun,
        node=json.dumps(_cleaned(model.node), separators=(",", ":")),
    )


def _text(text: str | None, limit: int = LONGEST_TEXT) -> str | None:
    return None if text is None else shorten(clean(text), limit=limit)


def _cleaned(value: Any) -> Any:
    """Return JSON's `value` with every text cleaned; it is 16 kB at most, and pydantic limits its depth."""
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number
    return clean(value) if isinstance(value, str) else value
