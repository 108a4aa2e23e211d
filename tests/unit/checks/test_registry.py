"""The registry is complete, documented, and what the spec offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.campaign.spec import BASE_CHECKS
from include.checks.registry import CHECKS

DOCS = Path(__file__).parents[3] / "docs" / "checks.md"


def test_the_spec_offers_exactly_the_checks_there_are():
    assert tuple(check.name for check in CHECKS) == BASE_CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_is_documented(check):
    assert check.summary.endswith(".")
    row = f"| `{check.name}` | {check.family} | {check.cost.name.lower()} | {check.summary} |"
    assert row in DOCS.read_text(encoding="utf-8")
