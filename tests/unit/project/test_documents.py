"""Documents point at what is there: links, headings, decisions, tests, and the commands and options that they show."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from vmkeep.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [
    *(
        ROOT / name
        for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "docs/cli.md", "docs/vmlab.md", "docs/policies.md")
    ),
    *sorted((ROOT / "docs" / "operations").glob("*.md")),
]
"""Those that show how vmkeep is used."""
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


def test_each_decision_has_a_number_of_its_own_in_name_and_heading():
    numbers = Counter(page.name[:4] for page in DECISIONS)

    assert [number for number, times in numbers.items() if times > 1] == []
    assert [page.name for page in DECISIONS if not page.read_text().startswith(f"# {page.name[:4]} · ")] == []


def test_every_decision_that_is_named_is_there():
    there = {page.name[:4] for page in DECISIONS}
    code = [*(ROOT / "include").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"), *PAGES]

    named = {number for page in code for number in re.findall(r"decisions? (\d{4})\b", page.read_text())}

    assert named - there == set()


def test_every_test_that_a_page_names_is_there():
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources)) | {path.name for path in (ROOT / "tests").rglob("test_*.py")}

    named = {name for page in PAGES for name in re.findall(r"`(test_\w+(?:\.py)?)`", page.read_text())}

    assert named - there == set()


def shown_commands(page: Path) -> Iterator[str]:
    """The command lines of ``vmkeep`` in a page: those in code spans, and the lines of code blocks."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [*(line for block in blocks for line in block.splitlines()), *spans]:
        if line.startswith("vmkeep "):
            yield line.partition(" #")[0].strip()


def unknown(line: str) -> str | None:
    """Return the part of a command line that does not exist: a command, or an option of it."""
    command: click.Command = cli
    for word in shlex.split(line.replace("[", "").replace("]", ""))[1:]:
        context = click.Context(command)
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = [command.get_command(context, name) for name in word.split("|")]
            if None in found or not all(found):
                return word
            command = found[0]
        elif re.match(r"--?[a-z]", word):
            known = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
            if word.partition("=")[0] not in known:
                return word
    return None


def test_the_contents_of_the_operations_pages_name_every_section():
    contents = ROOT / "docs" / "operations.md"
    listed = set(re.findall(r"\]\((operations/[^)]+)\)", contents.read_text()))
    pages = sorted((ROOT / "docs" / "operations").glob("*.md"))
    titles = {page: re.search(r"^# (.*)$", page.read_text(), re.MULTILINE)[1] for page in pages}

    there = {f"operations/{page.name}" for page in pages} | {
        f"operations/{page.name}#{anchor}" for page in pages for anchor in anchors(page) - {slug(titles[page])}
    }

    assert listed == there


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_that_is_shown_exists(page):
    assert {line: what for line in shown_commands(page) if (what := unknown(line)) is not None} == {}


def test_the_changelog_has_a_dated_section_of_each_version_newest_first():
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    released = [section for section in sections if section != "Unreleased"]

    assert [section for section in released if not re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", section)] == []
    assert released == sorted(
        released, key=lambda section: [int(n) for n in section.split()[0].split(".")], reverse=True
    )
    assert released[0].split()[0] == version
    assert sections[0] in ("Unreleased", released[0])


def too_long(page: Path) -> list[int]:
    """Lines beyond 120 characters, but for those of tables and code, and those that one link makes long."""
    fenced, found = False, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        short = re.sub(r"\]\([^)]*\)", "]", line)
        if len(short) > 120 and not fenced and not line.lstrip().startswith("|"):
            found.append(number)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_text_is_longer_than_120_characters(page):
    assert too_long(page) == []


def test_every_name_that_the_glossary_gives_a_word_in_code_is_there():
    sources = [path for part in ("include", "plugins") for path in (ROOT / part).rglob("*.py")]
    there = {word for path in sources for word in re.findall(r"\w+", path.read_text())}
    rows = [line.split(" | ") for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line[:2] == "| "]
    names = {name for row in rows if len(row) > 3 for name in re.findall(r"`([A-Za-z_]\w*)`", row[2])}

    assert {"RestorePoint", "RetentionRule"} <= names
    assert names - there == set()


def test_no_word_stands_twice_in_the_glossary():
    lines = (ROOT / "docs" / "glossary.md").read_text().partition("## Words that always need a noun")[0].splitlines()
    words = [word for line in lines if line[:2] == "| " for word in line.split(" | ")[0][2:].split(", ")]

    assert [word for word, times in Counter(words).items() if times > 1 and word != "word"] == []


def test_every_source_file_that_a_page_of_the_architecture_names_is_there():
    parts = ("include", "plugins", "dags", "tests", "bench", "demo", "scripts")
    files = [f"/{path.relative_to(ROOT)}" for part in parts for path in (ROOT / part).rglob("*.*")]
    pages = [*sorted((ROOT / "docs" / "architecture").glob("*.md")), *DECISIONS]

    named = {name for page in pages for name in re.findall(r"`([\w/]+\.(?:py|c))`", page.read_text())}

    named.remove("airflow_local_settings.py")  # Airflow's own
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in files)} == set()
