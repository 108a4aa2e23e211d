"""Tokens: what they let in, and what they keep out."""

from __future__ import annotations

import jwt
import pytest

from include.errors import LogsError, PostRefused
from include.logserver import tokens
from tests.unit.logserver.conftest import CLAIMS, NOW

KEY = "k" * 40
KEY_BYTES = KEY.encode()
TOKEN = tokens.job_token(KEY, CLAIMS, expires=NOW)


def test_a_token_proves_its_submission_until_it_expires() -> None:
    assert tokens.read_job_token(KEY_BYTES, TOKEN, now=NOW) == (CLAIMS, NOW)
    assert tokens.job_token(KEY, CLAIMS, expires=NOW) == TOKEN
    with pytest.raises(PostRefused, match="the token has expired") as caught:
        tokens.read_job_token(KEY_BYTES, TOKEN, now=NOW + 1)
    assert (caught.value.reason, caught.value.status) == ("expired", 401)


def unsigned(values: dict[str, object]) -> str:
    return jwt.encode(values, "", algorithm="none")


def signed(**values: object) -> str:
    return jwt.encode(values, KEY, algorithm="HS256")


GOOD = {"tag": "t", "dag_id": "d", "stage": "s", "run": 1, "jobs": 1, "exp": int(NOW), "aud": tokens.FOR_JOBS}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "\x00",
        "ä.ö.ü",
        TOKEN[:-3] + "AAA",
        TOKEN.swapcase(),
        TOKEN + "." * 3000,
        tokens.job_token("x" * 40, CLAIMS, expires=NOW),
        tokens.reader_token(KEY, "ann", expires=NOW),
        unsigned(GOOD),
        signed(**{**GOOD, "exp": "soon"}),
        signed(**{**GOOD, "exp": None}),
        signed(**{**GOOD, "aud": "airflow"}),
        signed(**{**GOOD, "run": "one"}),
        signed(**{**GOOD, "jobs": None}),
        signed(aud=tokens.FOR_JOBS, exp=int(NOW)),
        jwt.encode(GOOD, KEY * 2, algorithm="HS512"),
    ],
)
def test_what_is_forged(token: str) -> None:
    with pytest.raises(PostRefused) as caught:
        tokens.read_job_token(KEY_BYTES, token, now=NOW)
    assert caught.value.reason == "forged"


def test_a_reader_is_named_and_a_job_is_no_reader() -> None:
    token = tokens.reader_token(KEY, "ann", expires=NOW)
    assert tokens.read_reader_token(KEY_BYTES, token, now=NOW) == "ann"
    with pytest.raises(PostRefused):
        tokens.read_reader_token(KEY_BYTES, TOKEN, now=NOW)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(LogsError, match="has 5 bytes, it needs 32: make one with"):
        tokens.job_token("short", CLAIMS, expires=NOW)
