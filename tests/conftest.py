"""Fixtures for every test."""

from __future__ import annotations

pytest_plugins = [
    "tests.postgres",
    "tests.integration.browser",
    "tests.integration.deployments",
    "tests.integration.ledger_fixtures",
]
