"""An operator in the UI, in headless Chromium: trigger a campaign, see it go green, read a stage's log."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from playwright.sync_api import expect

from tests.integration.browser import shot, sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.integration.deployments import Site

CAMPAIGN_LIMIT_MS = 500_000


def test_a_campaign_triggered_in_the_ui_goes_green(sqlite_site: Site, page: Page, tmp_path: Path) -> None:
    deployment = sqlite_site.deployment
    sqlite_site.api.wait_for_dag("demo.quick", limit_s=120)
    sign_in(page, deployment)
    before = [run["dag_run_id"] for run in sqlite_site.api.get("/dags/demo.quick/dagRuns")["dag_runs"]]
    page.goto(f"{deployment.url}/dags/demo.quick")
    expect(page.get_by_text("demo.quick").first).to_be_visible()
    shot(page, "dag", tmp_path)
    page.get_by_role("button", name="Trigger").first.click()
    shot(page, "form", tmp_path)
    page.get_by_role("dialog").get_by_role("button", name="Trigger").last.click()
    spelt = [each for run_id in before for each in (run_id, quote(run_id), quote(run_id, safe=":"))]
    others = "".join(f":not([href*='/runs/{each}'])" for each in spelt)
    latest = page.locator(f"a[href*='/runs/manual__']{others}").first
    expect(latest).to_be_attached()
    run_page = f"{deployment.url}{(latest.get_attribute('href') or '').split('?')[0].rstrip('/')}"
    page.goto(run_page)
    last_task = page.get_by_role("row").filter(has=page.get_by_role("link", name="report"))
    expect(last_task.get_by_text("Success")).to_be_visible(timeout=CAMPAIGN_LIMIT_MS)
    shot(page, "run", tmp_path)
    page.goto(f"{run_page}/tasks/slice.gen.check/mapped/0")
    expect(page.get_by_text("3 of 3 subruns accepted").first).to_be_visible()
    shot(page, "log", tmp_path)
