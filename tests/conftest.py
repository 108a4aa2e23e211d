"""Fixtures for every test."""

from __future__ import annotations

import signal
import threading

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

# What a shell starts in its background ignores SIGINT, and every child of the tests would inherit that.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
