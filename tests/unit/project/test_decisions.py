"""Decisions are referred to by their numbers, so that each has one of its own."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted((DOCS / "decisions").glob("*.md"))


def test_no_two_decisions_have_one_number():
    numbers = [page.name[:4] for page in PAGES]
    assert sorted(set(numbers)) == numbers


def test_a_decision_has_the_number_of_its_file_in_its_title():
    titles = {page.name: page.read_text(encoding="utf-8").partition("\n")[0] for page in PAGES}
    assert [name for name, title in titles.items() if not title.startswith(f"# {name[:4]} · ")] == []


def test_every_link_between_pages_leads_to_a_page():
    broken = [
        f"{page.relative_to(DOCS)}: {link}"
        for page in DOCS.rglob("*.md")
        for link in re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []
