"""Compiles YARA rules, and names file and line of what is wrong with them, before any file is scanned.

YARA-X compiles them, which is YARA's successor by the same authors. It is written in Rust, because rules look into what
strangers wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from vmkeep.errors import UsageError
from vmkeep.extras import needs_extra
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.model.wording import counted
from vmkeep.scratch import writing_to

NAMES: Final = ("filename", "filepath", "extension")
"""Variables that rules may use, as those of many collections do: name, folder and ending of the scanned file."""
_ENDINGS: Final = (".yar", ".yara")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRules:
    """Rules that are ready to be loaded."""

    file: Path
    """The compiled rules."""
    facts: ScannerFacts


def compile_rules(places: Iterable[Path], folder: Path) -> CompiledRules:
    """Compile the rules in files, and in all files ``*.yar`` and ``*.yara`` below folders.

    Each file has a namespace of its own, so that two files may have rules of one name.

    :param folder: takes the compiled rules.
    :raises UsageError: a file cannot be read, there are no rules, or some are wrong; the message names file and line.
    :raises MissingExtraError: YARA-X is not installed.
    """
    with needs_extra("malware", "YARA rules"):
        import yara_x

    compiler: Any = yara_x.Compiler()
    for name in NAMES:
        compiler.define_global(name, "")
    places = [place.expanduser().absolute() for place in places]
    files = list(dict.fromkeys(_files(places)))
    newest = 0.0
    for file in files:
        compiler.new_namespace(str(file))
        compiler.add_include_dir(str(file.parent))
        text, changed = _read(file)
        newest = max(newest, changed)
        try:
            compiler.add_source(text, origin=str(file))
        except yara_x.CompileError:
            continue  # the compiler keeps its errors, and goes on to those of the other files
    if errors := compiler.errors():
        more = f" (and {len(errors) - _SHOWN} more)" if len(errors) > _SHOWN else ""
        raise UsageError(f"YARA rules: {'; '.join(map(_words, errors[:_SHOWN]))}{more}")
    rules = compiler.build()
    number = sum(1 for _ in rules)
    if not number:
        raise UsageError(f"YARA: no rules in {', '.join(map(str, places))}: give files, or folders of *.yar and *.yara")
    compiled = folder / "rules"
    with writing_to(folder), compiled.open("wb") as output:
        rules.serialize_into(output)
    facts = ScannerFacts(
        name="YARA",
        version=f"YARA-X {version('yara-x')}",
        signatures=counted(number, "rule"),
        signatures_at=datetime.fromtimestamp(newest, UTC),
        rules=":".join(map(str, places)),
    )
    return CompiledRules(file=compiled, facts=facts)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for path in places:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix.lower() in _ENDINGS and each.is_file())
        else:
            yield path


def _read(file: Path) -> tuple[str, float]:
    """Return the text of a file, and when it was changed."""
    try:
        return file.read_text(encoding="utf-8"), file.stat().st_mtime
    except UnicodeDecodeError as error:
        raise UsageError(f"YARA rules {file}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"YARA rules {file}: cannot be read: {error.strerror}") from error


def _words(error: dict[str, Any]) -> str:
    """Return an error of the compiler in one line: file, line, column, and the words for it."""
    labels = error.get("labels") or [{}]
    where = labels[0].get("code_origin") or "a rule"
    said = labels[0].get("text") or ""
    return f"{where}:{error.get('line')}:{error.get('column')}: {error.get('title')}{f' ({said})' if said else ''}"
