"""An operator in the UI, in headless Chromium: trigger a campaign, see it go green, read a stage's log."""

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
    from tests.integration.deployments import Site

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
CAMPAIGN_LIMIT_MS = 240_000


@pytest.fixture
def page() -> Iterator[Page]:
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert program, "no Chromium on PATH; Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
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


def test_a_campaign_triggered_in_the_ui_goes_green(sqlite_site: Site, page: Page, tmp_path: Path) -> None:
    deployment = sqlite_site.deployment
    sign_in(page, deployment)
    page.goto(f"{deployment.url}/dags/demo.quick")
    expect(page.get_by_text("demo.quick").first).to_be_visible()
    shot(page, "dag", tmp_path)
    page.get_by_role("button", name="Trigger").first.click()
    shot(page, "form", tmp_path)
    page.get_by_role("dialog").get_by_role("button", name="Trigger").last.click()
    latest = page.locator("a[href*='/runs/manual__']").first
    expect(latest).to_be_attached()
    run_page = f"{deployment.url}{(latest.get_attribute('href') or '').split('?')[0].rstrip('/')}"
    page.goto(run_page)
    last_task = page.get_by_role("row").filter(has=page.get_by_role("link", name="report"))
    expect(last_task.get_by_text("Success")).to_be_visible(timeout=CAMPAIGN_LIMIT_MS)
    shot(page, "run", tmp_path)
    page.goto(f"{run_page}/tasks/slice.gen.check/mapped/0")
    expect(page.get_by_text("3 of 3 subruns accepted").first).to_be_visible()
    shot(page, "log", tmp_path)
