#!/usr/bin/env python3
"""Take the pictures in docs/images, each page in both themes, of a made-up ledger: `make screenshots`."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from playwright.sync_api import sync_playwright

from tests.integration.browser import ARGUMENTS, CHROMIUM
from tests.pages_site import pages_site
from tests.picture_ledger import CAMPAIGNS, fill

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LARGEST = 200_000
SIZE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 780}
MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def pictures(page: Page, base: str, places: dict[str, str]) -> None:
    """Save each page in both themes, and the first on a phone."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for name, path in places.items():
            page.goto(base + path)
            page.wait_for_load_state("networkidle")
            save(page, f"{name}-{theme}")
    page.set_viewport_size(PHONE)
    page.goto(base + places["campaigns"])
    save(page, "phone")


def save(page: Page, name: str) -> None:
    """Save a picture; SystemExit if it is too large for the repository."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    if path.stat().st_size > LARGEST:
        sys.exit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")


def main() -> None:
    """Serve the pages from a temporary folder and take the pictures."""
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        sys.exit("no Chromium on PATH; Debian: apt-get install chromium")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        pages_site(Path(folder), dag_ids=CAMPAIGNS, users={"ann": "admin"}, auth_manager=MANAGER) as made,
    ):
        app, ledger, tokens = made
        places = fill(ledger, now=time.time(), logs=Path(folder))
        listening = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        serving.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
                context = browser.new_context(viewport=SIZE)
                context.add_cookies([{"name": "_token", "value": tokens["ann"], "url": base}])
                pictures(context.new_page(), f"{base}/prodsys", places)
                browser.close()
        finally:
            server.should_exit = True
            serving.join()
            ledger.close()


if __name__ == "__main__":
    main()
