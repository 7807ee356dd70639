"""Type, status and code of an error decide what is done about it, never the words in its text.

Words hold keys, ports and times that look like codes, and are in the language of whoever wrote them. This reads the
product's source: text of a caught error may be shown, and is not compared or searched.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("include/vmkeep", "plugins", "dags", "demo")
ALLOWED = {"include/vmkeep/blobs/s3/answers.py"}
"""Takes the S3 client's errors apart by their structure, which comes as text; its module says why that is safe."""
_OF_TEXT = {"msg", "message", "args", "strerror", "faultMessage", "localizedMessage", "stderr", "reason"}
_SEARCHING = {
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "search", "match", "fullmatch", "findall",
    "finditer",
}  # fmt: skip
_COMPARING = (ast.In, ast.NotIn, ast.Eq, ast.NotEq)
_NAMES = {"error", "exc", "exception", "fault", "failure"}


class Words(ast.NodeVisitor):
    """Finds where the text of an error decides, within one function or module."""

    def __init__(self) -> None:
        self.errors: set[str] = set(_NAMES)
        self.texts: set[str] = set()
        self.found: list[int] = []

    def _is_text(self, node: ast.AST) -> bool:
        """Whether an expression is the text of an error, or made from it."""
        for part in ast.walk(node):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in ("str", "repr"):
                if any(isinstance(given, ast.Name) and given.id in self.errors for given in part.args):
                    return True
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                if part.value.id in self.errors and part.attr in _OF_TEXT:
                    return True
            elif isinstance(part, ast.Name) and part.id in self.texts:
                return True
        return False

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.errors.add(node.name)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_text(node.value):
            names = [name for goal in node.targets for name in ast.walk(goal) if isinstance(name, ast.Name)]
            self.texts |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        if self._is_text(node.value):
            self.texts.add(node.target.id)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if any(isinstance(how, _COMPARING) for how in node.ops) and self._is_text(node):
            self.found.append(node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in _SEARCHING:
            parts = [node.func.value, *node.args]
            if any(self._is_text(part) for part in parts):
                self.found.append(node.lineno)
        self.generic_visit(node)


def deciding(source: str) -> list[int]:
    """Return the lines of a module in which an error's text decides something."""
    found: set[int] = set()
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            words = Words()
            words.visit(scope)
            found |= set(words.found)
    return sorted(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_text_of_an_error_decides_anything(folder):
    places = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in ALLOWED
        for line in deciding(path.read_text())
    ]

    assert places == [], "decide by the error's type, status or code; its text is for people"


@pytest.mark.parametrize(
    "condition",
    [
        '"416" in str(error)',
        '"416" not in str(error).partition("\\n")[0]',
        'str(error).startswith("no")',
        'str(error).lower() == "failure"',
        're.search("quiesc", str(error))',
        "_PATTERN.match(error.msg)",
        '"no" in error.args[0]',
        'error.strerror == "No space left on device"',
        '"quiesc" in (text := str(error))',
        'text != "x"',
        'first.endswith("y")',
    ],
)
def test_the_habit_is_found(condition):
    source = "def call():\n    try:\n        go()\n    except OSError as error:\n        text = str(error)\n"
    source += f"        first, _ = text.split(' ')\n        if {condition}:\n            return\n"

    assert deciding(source) == [7]


@pytest.mark.parametrize(
    "use",
    [
        "raise RuntimeError(f'{error}') from error",
        "log(str(error))",
        "if error.errno == 28: pass",
        "x = str(error)[:9]",
    ],
)
def test_text_that_is_shown_is_fine(use):
    assert deciding(f"def call():\n    try:\n        go()\n    except OSError as error:\n        {use}\n") == []
