"""A contributor's first sight: the forms of the project's page, its workflow, its hooks, and its guide."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GITHUB = ROOT / ".github"
WORKFLOW = GITHUB / "workflows" / "ci.yml"
GUIDE = ROOT / "CONTRIBUTING.md"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def parsed(path: Path) -> dict:
    return yaml.load(path.read_text(), yaml.BaseLoader)


def commands_of(target: str) -> list[str]:
    """The commands of a make target, without those that set the environment up."""
    shown = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [line for line in shown.splitlines() if line.startswith(".venv/bin/")]


def hooks() -> list[dict]:
    return [hook for repo in parsed(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        (WORKFLOW, "github-workflows"),
        (GITHUB / "ISSUE_TEMPLATE" / "config.yml", "github-issue-config"),
        *((form, "github-issue-forms") for form in FORMS),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_workflow_and_issue_forms_fit_the_published_schemas(path, schema):
    published = files("check_jsonschema") / f"builtin_schemas/vendor/{schema}.json"

    jsonschema.validate(yaml.safe_load(path.read_text().replace("\non:", '\n"on":')), json.loads(published.read_text()))


def test_the_workflow_runs_the_one_command_that_everybody_runs():
    (job,) = parsed(WORKFLOW)["jobs"].values()

    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_the_workflow_runs_every_version_of_python_that_is_promised():
    (job,) = parsed(WORKFLOW)["jobs"].values()
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()

    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_pre_commit_runs_the_very_commands_of_make_lint():
    assert [hook["entry"] for hook in hooks()] == commands_of("lint")
    assert {(hook["language"], hook["pass_filenames"]) for hook in hooks()} == {("system", "false")}


def test_every_generated_file_is_named_in_gitattributes():
    generated = {
        line.split()[0]
        for line in (ROOT / ".gitattributes").read_text().splitlines()
        if "linguist-generated" in line and not line.startswith("#")
    }

    assert {"uv.lock", "requirements.txt"} <= generated
    for pattern in generated:
        assert list(ROOT.glob(pattern)), f"{pattern} names no file"


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git work tree")
def test_git_takes_every_disk_image_and_old_repository_for_binary():
    listed = subprocess.run(["git", "ls-files", "*.zst", "*.gz"], cwd=ROOT, check=True, capture_output=True, text=True)
    command = ["git", "check-attr", "binary", "--", *listed.stdout.split()]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert [line for line in told.splitlines() if not line.endswith("binary: set")] == []


def quotes() -> Iterator[tuple[str, str]]:
    """Each block of Python in the guide, with the file that the words before it name."""
    for before, block in re.findall(r"((?:(?!```).)*?)```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        yield re.findall(r"`([\w/]+\.py)`", before)[-1], block


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize(("path", "block"), list(quotes()), ids=lambda value: value if value.endswith(".py") else "")
def test_the_guide_quotes_code_as_it_is(path, block):
    lines = unindented((ROOT / path).read_text())

    for part in re.split(r"^ *\.\.\.\n", block, flags=re.MULTILINE):
        assert unindented(part) in lines, f"CONTRIBUTING.md quotes {path}, which has other lines by now: quote it anew"


def shown_lines() -> Iterator[str]:
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if command := line.partition(" #")[0].strip():
                yield command


def test_every_make_target_in_the_guide_exists():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z-]+)", GUIDE.read_text())) <= known


def test_every_path_in_the_guide_exists():
    spans = re.findall(r"`([^`\n]+)`", GUIDE.read_text())
    paths = [span for span in spans if re.fullmatch(r"[.\w-]+/[\w./-]*", span) and "NNNN" not in span]

    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_test_in_the_guide_exists():
    named = [line for line in shown_lines() if "pytest" in line]

    assert named
    for line in named:
        for word in line.split():
            path, _, name = word.partition("::")
            if path.startswith("tests/"):
                assert (ROOT / path).exists(), f"there is no {path}"
                assert not name or name in functions_of(ROOT / path), f"{path} has no {name}"
