"""Tokens: a job's lets it write its own submission's logs, a reader's lets a person or a program read.

Signed with the deployment's key and otherwise readable: they prove, they do not hide.
"""

from __future__ import annotations

from typing import Any

import jwt

from include.errors import LogsError, PostRefused
from include.logserver.records import JobClaims

ALGORITHM = "HS256"
FOR_JOBS, FOR_READERS = "prodsys-log", "prodsys-log-reader"
LEAST_KEY_BYTES = 32
JOB_TOKEN_S = 60 * 86400.0
"""A job's token holds for so long after its submission was intended: idle time, run time and holds."""
READER_TOKEN_S = 90 * 86400.0
LONGEST_TOKEN = 2000
"""Characters; a longer one is not looked at."""


def check_key(key: str) -> bytes:
    """Return the key's bytes; LogsError where it is too short to be a secret."""
    found = key.encode()
    if len(found) < LEAST_KEY_BYTES:
        raise LogsError(
            f"the log server's key has {len(found)} bytes, it needs {LEAST_KEY_BYTES}: make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )
    return found


def job_token(key: str, claims: JobClaims, *, expires: float) -> str:
    """Return the token of one submission's jobs, the same each time for the same arguments."""
    named = {"tag": claims.tag, "dag_id": claims.dag_id, "stage": claims.stage}
    numbers = {"run": claims.run, "jobs": claims.jobs, "exp": int(expires)}
    return jwt.encode({**named, **numbers, "aud": FOR_JOBS}, check_key(key), algorithm=ALGORITHM)


def read_job_token(key: bytes, token: str, *, now: float) -> tuple[JobClaims, float]:
    """Return what a job's token proves and until when; PostRefused if it is forged or expired."""
    values = _read(key, token, audience=FOR_JOBS, now=now)
    try:
        claims = JobClaims(
            tag=str(values["tag"]),
            dag_id=str(values["dag_id"]),
            stage=str(values["stage"]),
            run=int(values["run"]),
            jobs=int(values["jobs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _forged() from error
    return claims, float(values["exp"])


def reader_token(key: str, name: str, *, expires: float) -> str:
    """Return a token that lets `name` read all logs."""
    values = {"sub": name, "exp": int(expires), "aud": FOR_READERS}
    return jwt.encode(values, check_key(key), algorithm=ALGORITHM)


def read_reader_token(key: bytes, token: str, *, now: float) -> str:
    """Return whose token it is; PostRefused if it is forged or expired."""
    return str(_read(key, token, audience=FOR_READERS, now=now)["sub"])


def _read(key: bytes, token: str, *, audience: str, now: float) -> dict[str, Any]:
    if len(token) > LONGEST_TOKEN:
        raise _forged()
    # Expiry is compared here, with the caller's clock.
    options: Any = {"require": ["exp", "aud"], "verify_exp": False}
    try:
        values = jwt.decode(token, key, algorithms=[ALGORITHM], audience=audience, options=options)
        expires = float(values["exp"])
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise _forged() from error
    if expires < now:
        raise PostRefused("expired", "the token has expired", status=401)
    if audience == FOR_READERS and "sub" not in values:
        raise _forged()
    return values


def _forged() -> PostRefused:
    return PostRefused("forged", "the token is not one of this server's", status=401)
