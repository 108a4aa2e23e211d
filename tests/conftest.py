"""Fixtures for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.postgres",
    "tests.integration.browser",
    "tests.integration.deployments",
    "tests.integration.ledger_fixtures",
]

# How fast a machine is says nothing about the code: no test may fail for it.
settings.register_profile("prodsys", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prodsys")
