"""Shows each page in Chromium: its time to load, everything that fails or comes from elsewhere, and a picture.

Chromium is Debian's, and Playwright drives it; both come with ``make setup`` for the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from bench.pages.site import PagesSite

_KINDS: Final[tuple[tuple[Literal["light", "dark"], int], ...]] = (("light", 1400), ("dark", 1400), ("light", 390))
_TIMES: Final = 3
"""Loads of a page, of which the second fastest counts: the first one loads the style sheet, too."""
_PATIENCE: Final = 600_000
"""Milliseconds after which a step has failed."""
_LOADED: Final = """() => {
  const [entry] = performance.getEntriesByType('navigation');
  return [entry.responseEnd, entry.domContentLoadedEventEnd, entry.loadEventEnd];
}"""


def look_at(site: PagesSite, paths: Sequence[tuple[str, str]], pictures: Path) -> None:
    """Show all pages, print a row for each, and keep a picture of each in each of three looks."""
    pictures.mkdir(parents=True, exist_ok=True)
    url = site.airflow.home.url
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        print(
            "\nIn Chromium, in seconds from the click: the last byte of the page, the page without pictures, and all."
            "\n\n| page | last byte | page | all | requests | faults |\n|---|---|---|---|---|---|"
        )
        for scheme, width in _KINDS:
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
            context.add_cookies([{"name": "_token", "value": site.token, "url": url}])
            for name, path in paths:
                if "/api/" in path or "/runs/" in path:
                    continue
                page = context.new_page()
                page.set_default_timeout(_PATIENCE)
                picture = pictures / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{scheme}-{width}.png"
                row = _look(page, url, path, times=_TIMES if (scheme, width) == _KINDS[0] else 1)
                page.screenshot(path=picture, full_page=True, timeout=_PATIENCE)
                wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
                if (scheme, width) == _KINDS[0]:
                    print(f"| {name} | {row}", flush=True)
                if wide:
                    print(f"    {name} is wider than a window of {width}")
                page.close()
        browser.close()


def _look(page: Page, url: str, path: str, *, times: int) -> str:
    calls: list[str] = []
    faults: list[str] = []
    own = urlsplit(url).netloc

    def failed(got: Any) -> None:
        if got.status >= 400:
            faults.append(f"{got.status} {got.url}")

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    page.on("request", lambda call: calls.append(call.url))
    page.on("response", failed)
    page.on("console", said)
    page.on("pageerror", lambda error: faults.append(str(error)))
    found = []
    for _ in range(times):
        calls.clear()
        page.goto(url + path, wait_until="load", timeout=_PATIENCE)
        found.append(page.evaluate(_LOADED))
    faults += [f"from elsewhere: {each}" for each in calls if urlsplit(each).netloc != own]
    found.sort(key=lambda one: float(one[2]))
    answered, parsed, loaded = (each / 1000 for each in found[min(1, times - 1)])
    return f"{answered:.3f} | {parsed:.3f} | {loaded:.3f} | {len(calls)} | {'; '.join(faults) or 'none'} |"
