"""Visits of a real browser to the pages of a running Airflow, logged in, with an eye on errors and foreign calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.patience import HANG

PICTURES = Path(__file__).resolve().parents[4] / "var" / "screenshots"
"""Where the pictures of the last run stay, to be looked at."""
KINDS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1400), ("dark", 1400), ("light", 390))
"""Colours and widths in which pages are looked at."""


@dataclass
class Visit:
    """A page in a browser of its own, as somebody who is logged in opens it."""

    page: Page
    url: str
    """Airflow's own address."""
    faults: list[str] = field(default_factory=list)
    """A line for each error on a page, and for each call to another server."""

    def picture(self, name: str) -> None:
        """Take a picture in each colour and width, and see that no page is wider than its window."""
        for scheme, width in KINDS:
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.screenshot(path=PICTURES / f"{name}-{scheme}-{width}.png", full_page=True)
            assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (name, width)
        self.page.set_viewport_size({"width": KINDS[0][1], "height": 900})

    def watch(self) -> None:
        """Note the faults from now on."""
        own = urlsplit(self.url).netloc
        note = self.faults.append
        self.page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: note(str(error)))
        self.page.on("request", lambda call: note(call.url) if origin_of(call.url) != own else None)
        self.page.on("response", lambda got: note(f"{got.status} {got.url}") if got.status >= 400 else None)


def origin_of(address: str) -> str:
    """Return the host and port of an address; of something that a page has made itself, those of the page."""
    return urlsplit(address.removeprefix("blob:")).netloc


@contextmanager
def visit(browser: Browser, airflow: Any, api: Any, **options: Any) -> Iterator[Visit]:
    """Open a page as the user of the API. At the end there must be no fault."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    url = airflow.home.url
    context = browser.new_context(**{"viewport": {"width": KINDS[0][1], "height": 900}, **options})
    context.set_default_timeout(HANG * 1000)
    context.add_cookies([{"name": "_token", "value": api._token, "url": url}])
    made = Visit(page=context.new_page(), url=url)
    made.watch()
    yield made
    assert made.faults == []
    context.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as player:
        # A container has no user namespaces for the browser's own sandbox.
        started = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()
