# ruff: noqa: E501 - a list of pieces
"""Whatever a file holds, the reader answers with a spec or a SpecError, never with anything else."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.campaign.resolve import load_plan
from include.errors import SpecError
from tests.unit.campaign.conftest import GOOD

TOKENS = [
    *GOOD.split(), "\n", "\n  ", "\n    ", "{", "}", "[", "]", "- ", "? ", "& ", "&a ", "*a ", "!!int ", "! ", "<<: *a",
    "---\n", "...\n", "%YAML 1.1\n", "'", '"', "|\n", ">-\n", "#", "null", "~", "1e999", "9" * 30, "{run:06d}", "\x85",
    "\u2028", "\ufeff", "1.5 GB", "8 h", "-", ":", ": ", "stages:", "inputs:", "files:", "any", "merge:", "0x10", "-0",
]  # fmt: skip
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(content: bytes) -> None:
    """Load a campaign file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo" / "z.yaml"
        path.parent.mkdir()
        (path.parent / "gen.sh").write_text("#!/bin/sh\n")
        (path.parent / "gen.sh").chmod(0o755)
        path.write_bytes(content)
        with suppress(SpecError):
            load_plan(path, specs=Path(folder), area="/area")


@SETTINGS
@given(st.binary(max_size=400))
def test_any_bytes(content: bytes) -> None:
    check(content)


@SETTINGS
@given(st.text(max_size=400))
def test_any_text(text: str) -> None:
    check(text.encode("utf-8", errors="surrogatepass"))


@SETTINGS
@given(st.lists(st.sampled_from(TOKENS), max_size=80))
def test_any_tokens(tokens: list[str]) -> None:
    check("".join(f"{token} " if token.strip() else token for token in tokens).encode())


@SETTINGS
@given(st.data())
def test_a_good_file_with_a_piece_replaced(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(start + 30, len(GOOD))))
    piece = data.draw(st.one_of(st.sampled_from(TOKENS), st.text(max_size=12)))
    check((GOOD[:start] + piece + GOOD[end:]).encode("utf-8", errors="surrogatepass"))
