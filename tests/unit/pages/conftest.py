"""The pages over a filled ledger, asked as a browser asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.pages_site import pages_site
from tests.progress_ledger import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from include.bookkeeping.ledger import Ledger

DAGS = ("demo.z", "demo.quiet", "demo.secret", "demo.new", "etl.daily")
SITE = "http://airflow.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages as a browser sees them."""

    app: FastAPI
    ledger: Ledger
    tokens: dict[str, str]

    def get(self, path: str, *, who: str = "ann", **headers: str) -> httpx.Response:
        """GET as a user with a session's cookie."""
        return self.send("GET", path, who=who, headers=headers)

    def post(self, path: str, form: dict[str, Any], *, who: str = "ann", **headers: str) -> httpx.Response:
        """POST a form, by default as the page's own form is sent."""
        sent = headers or {"sec-fetch-site": "same-origin"}
        return self.send("POST", path, who=who, data=form, headers=sent)

    def send(self, method: str, path: str, *, who: str, **more: Any) -> httpx.Response:
        """Send one request to the application, mounted as Airflow mounts it."""
        cookies = {"_token": self.tokens[who]} if who else {}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=SITE, cookies=cookies) as client:
                return await client.request(method, f"/prodsys{path}", **more)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages: `ann` may edit demo.z and demo.quiet, `bob` may only read demo.z.

    Of demo.z `cat` may not read logs, and `dan` may not see tasks; `cat` may edit a DAG that is no campaign.
    """
    users = {"ann": "user", "bob": "viewer", "cat": "user", "dan": "viewer"}
    manager = "tests.narrow_auth.NarrowAuthManager"
    folder = tmp_path_factory.mktemp("pages")
    with pages_site(folder, dag_ids=DAGS, users=users, auth_manager=manager) as (app, ledger, tokens):
        fill(ledger)
        yield Pages(app=app, ledger=ledger, tokens=tokens)
