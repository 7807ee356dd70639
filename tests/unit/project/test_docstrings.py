"""Docstrings begin with a noun or a verb, so that a stranger knows at once what each is about."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("include", "plugins", "dags", "demo", "bench", "tests")
HEADLESS = re.compile(r'"""(What|Who|Whose|Whom|How many|So|Of|For whom) ')


def test_no_docstring_begins_with_a_question_or_a_word_that_needs_another():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if HEADLESS.search(line)
    ]
    assert found == []
