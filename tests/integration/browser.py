"""A browser: headless Chromium, signed in to a deployment's Airflow."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from embedded.deployment import Deployment

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page() -> Iterator[Page]:
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert program, "no Chromium on PATH; Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        yield page
        browser.close()


def sign_in(page: Page, deployment: Deployment) -> None:
    page.goto(f"{deployment.url}/auth/login")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(deployment.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{deployment.url}/**")
    expect(page.get_by_role("link", name="Dags").first).to_be_visible()


def shot(page: Page, name: str, tmp_path: Path) -> None:
    """Keep a screenshot, in the folder that PRODSYS_SCREENSHOTS names if it does."""
    page.screenshot(path=os.path.join(os.environ.get("PRODSYS_SCREENSHOTS", str(tmp_path)), f"{name}.png"))  # noqa: PTH118
