"""Playwright's ``expect`` with the patience of these tests: as it is shipped, it gives a busy machine five seconds."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.patience import HANG

expect.set_options(timeout=HANG * 1000)

__all__ = ["expect"]
