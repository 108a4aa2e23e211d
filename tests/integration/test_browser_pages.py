"""The pages in headless Chromium: a campaign from trigger to finish, and an on-call drill with a fault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from include.campaign.states import ActionKind
from tests.integration.browser import sign_in
from tests.integration.deployments import make_drill_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.integration.deployments import Site

LIMIT_MS = 500_000
THEMES = ("light", "dark")
PHONE = {"width": 360, "height": 780}
TOO_WIDE = """() => [...document.querySelectorAll("main *, header *, footer *")]
  .filter(each => document.documentElement.scrollWidth > innerWidth
    && !each.parentElement.closest(".scroll, pre")
    && each.getBoundingClientRect().right > innerWidth)
  .map(each => `${each.tagName} ${each.className} ${each.textContent.trim().slice(0, 80)}`)"""
NEXT_FRAME = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
DESK = {"width": 1400, "height": 1000}


@pytest.fixture
def desk(sqlite_site: Site, page: Page) -> Iterator[Page]:
    """A signed-in browser in which no page may have an error or break the content policy."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None
    )
    sign_in(page, sqlite_site.deployment)
    yield page
    assert wrong == []


def pictures(page: Page, name: str) -> None:
    """Keep a picture of the page in both themes, where PRODSYS_SCREENSHOTS says; `make screenshots` does."""
    folder = os.environ.get("PRODSYS_SCREENSHOTS")
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{theme}.png", animations="disabled")
    page.emulate_media(color_scheme="light")


def fits_a_phone(page: Page) -> None:
    """See that nothing but tables needs sideways scrolling on a narrow screen."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.evaluate(NEXT_FRAME)  # charts take their new size with it
    assert page.evaluate(TOO_WIDE) == []
    page.set_viewport_size(DESK)  # type: ignore[arg-type]


def test_a_campaign_is_seen_from_trigger_to_finish(sqlite_site: Site, desk: Page) -> None:
    site, url = sqlite_site, f"{sqlite_site.deployment.url}/prodsys"
    site.api.wait_for_dag("demo.quick", limit_s=120)
    run_id = site.api.trigger("demo.quick", slices=2)
    desk.goto(f"{url}/campaigns/demo.quick?run_id={run_id}")
    desk.evaluate("window.neverReloaded = true")
    complete = desk.locator("#stage-merge_reco td.figure b")
    expect(desk.get_by_role("heading", name="Stages")).to_be_visible(timeout=LIMIT_MS)
    expect(desk.locator(".bar rect.running, .bar rect.idle, .bar rect.accepted").first).to_be_attached(
        timeout=LIMIT_MS
    )
    pictures(desk, "campaign-running")
    expect(complete).to_have_text("100 %", timeout=LIMIT_MS)
    assert desk.evaluate("window.neverReloaded === true"), "numbers came without a reload"
    expect(desk.locator("#chart canvas")).to_be_visible()
    desk.get_by_text("As a table").click()
    expect(desk.locator("[data-chart-table] tbody tr").last).to_contain_text("100.0 %")
    expect(desk.locator("#stage-gen .bar")).to_have_attribute(
        "aria-label", "gen: 100 % of 6 subruns: 6 accepted"
    )
    fits_a_phone(desk)
    desk.goto(f"{url}/campaigns/demo.quick")
    pictures(desk, "campaign")
    assert site.api.follow("demo.quick", run_id, limit_s=600) == "success"
    desk.goto(f"{url}/campaigns?q=quick")
    expect(desk.locator("#c-demo\\.quick")).to_have_class("campaign is-done", timeout=30_000)
    fits_a_phone(desk)


def test_the_pages_are_where_operators_look(sqlite_site: Site, desk: Page) -> None:
    """In the navigation, on the DAG and the dag_run, in the frame and the theme of Airflow's UI."""
    site, url = sqlite_site, sqlite_site.deployment.url
    run_id = site.api.get("/dags/demo.quick/dagRuns", limit=1)["dag_runs"][0]["dag_run_id"]
    for address in (
        f"{url}/dags/demo.quick/plugin/progress",
        f"{url}/dags/demo.quick/runs/{run_id}/plugin/run-progress",
    ):
        desk.goto(address)
        frame = desk.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="demo.quick")).to_be_visible(timeout=60_000)
        outer = desk.locator("html").get_attribute("class") or ""
        expect(frame.locator("html")).to_have_attribute(
            "data-theme", "dark" if "dark" in outer.split() else "light"
        )
    desk.goto(f"{url}/plugin/prodsys-campaigns")
    expect(desk.frame_locator("iframe").get_by_role("heading", name="Campaigns")).to_be_visible(
        timeout=60_000
    )
    link = site.api.get(f"/dags/demo.quick/dagRuns/{run_id}/taskInstances/reserve/links")["extra_links"]
    assert f"/prodsys/campaigns/demo.quick?run_id={run_id.split(':')[0]}" in link["Campaign"]


def test_an_alarm_leads_to_its_cause_in_three_clicks(sqlite_site: Site, desk: Page) -> None:
    site, url = sqlite_site, f"{sqlite_site.deployment.url}/prodsys"
    make_drill_files(site.deployment.area / "drill", {11: 20})
    site.api.wait_for_dag("drill.badcode", limit_s=120)
    run_id = site.api.trigger("drill.badcode")
    desk.goto(f"{url}/campaigns?q=drill.badcode")
    line = desk.locator("#c-drill\\.badcode")
    # The alarm.
    expect(line.get_by_text("gen, run 11: a decision is asked for")).to_be_visible(timeout=LIMIT_MS)
    pictures(desk, "campaigns")
    line.get_by_role("link", name="Why it failed").click()  # 1
    cause = desk.locator(".cause").first
    expect(cause).to_contain_text("8 subruns")
    expect(cause.locator("pre")).to_contain_text("KeyError")
    pictures(desk, "triage")
    fits_a_phone(desk)
    cause.locator("figcaption a").click()  # 2
    expect(desk.get_by_role("heading", name="Log")).to_be_visible()
    expect(desk.locator("[data-log]")).to_contain_text("KeyError: 'target_z'")
    # HTCondor's own word: submitted, started, terminated.
    expect(desk.locator("section", has=desk.locator("#h-events"))).to_contain_text("Job terminated")
    pictures(desk, "job")
    fits_a_phone(desk)
    job_id = desk.locator("h1").inner_text()
    desk.get_by_role("searchbox").fill(job_id)
    with desk.expect_navigation():
        desk.keyboard.press("Enter")
    expect(desk.locator("h1")).to_have_text(job_id)
    answer_in_the_page(site, desk, run_id)


def answer_in_the_page(site: Site, desk: Page, run_id: str) -> None:
    """Stop the stage from its triage page, with the keyboard, after a confirmation; nodes the same way."""
    url = f"{site.deployment.url}/prodsys"
    desk.goto(f"{url}/nodes")
    desk.locator(".confirm summary").first.press("Enter")
    desk.get_by_label("Name", exact=True).fill("wn77.example")
    desk.get_by_label("Why", exact=True).fill("a drill")
    desk.get_by_role("button", name="Yes, exclude a node or site").press("Enter")
    row = desk.locator("#x-node-wn77\\.example")
    expect(row).to_contain_text("a drill")
    pictures(desk, "nodes")
    row.get_by_text("Lift", exact=True).click()
    row.get_by_role("button", name="Yes, lift").click()
    expect(row).to_have_count(0)
    desk.goto(f"{url}/campaigns/drill.badcode/triage?run_id={run_id}")
    stop = desk.locator(".question details", has_text="Stop")
    stop.locator("summary").press("Enter")
    stop.get_by_role("button", name="Yes, stop").press("Enter")
    assert site.api.follow("drill.badcode", run_id, limit_s=600) == "failed"
    done = [(each.kind, each.who) for each in site.ledger.actions("drill.badcode", run_id)]
    assert done[-1] == (ActionKind.STOP, "admin")
    kinds = [
        each.kind for each in site.ledger.actions() if "wn77.example" in each.detail and each.who == "admin"
    ]
    assert kinds == [ActionKind.EXCLUDE, ActionKind.LIFT]
