"""Compiles YARA rules, and names file and line of what is wrong with them, before any file is scanned.

YARA-X compiles them, which is YARA's successor by the same authors. It is written in Rust, because rules look into what
strangers wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from vmkeep.errors import UsageError
from vmkeep.extras import needs_extra
from vmkeep.lateclass import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    file: Path
    text: str
    changed: float
    """When the file was changed, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    compiled: bytes = b""
    number: int = 0
    """Rules in it."""
    errors: Sequence[dict[str, Any]] = ()


def compile_rules(places: Iterable[Path], folder: Path) -> CompiledRules:
    """Compile the rules in files, and in all files ``*.yar`` and ``*.yara`` below folders.

    Each file has a namespace of its own, so that two files may have rules of one name.

    :param folder: takes the compiled rules.
    :raises UsageError: a file cannot be read, there are no rules, or some are wrong; the message names file and line.
    :raises MissingExtraError: YARA-X is not installed.
    """
    with needs_extra("malware", "YARA rules"):
        import yara_x  # noqa: F401

    places = [place.expanduser().absolute() for place in places]
    sources = [_read(file) for file in dict.fromkeys(_files(places))]
    built = _build(sources)
    if errors := built.errors:
        more = f" (and {len(errors) - _SHOWN} more)" if len(errors) > _SHOWN else ""
        raise UsageError(f"YARA rules: {'; '.join(map(_words, errors[:_SHOWN]))}{more}")
    if not built.number:
        raise UsageError(f"YARA: no rules in {', '.join(map(str, places))}: give files, or folders of *.yar and *.yara")
    compiled = folder / "rules"
    with writing_to(folder), compiled.open("wb") as output:
        output.write(built.compiled)
    facts = ScannerFacts(
        name="YARA",
        version=f"YARA-X {version('yara-x')}",
        signatures=counted(built.number, "rule"),
        signatures_at=datetime.fromtimestamp(max(source.changed for source in sources), UTC),
        rules=":".join(map(str, places)),
    )
    return CompiledRules(file=compiled, facts=facts)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for path in places:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix.lower() in _ENDINGS and each.is_file())
        else:
            yield path


def _read(file: Path) -> _Source:
    try:
        return _Source(file=file, text=file.read_text(encoding="utf-8"), changed=file.stat().st_mtime)
    except UnicodeDecodeError as error:
        raise UsageError(f"YARA rules {file}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"YARA rules {file}: cannot be read: {error.strerror}") from error


def _build(sources: Iterable[_Source]) -> _Built:
    """Compile sources, and raise nothing because of them.

    A compiler may only be dropped in the thread that made it. An error that went through this frame would keep the
    compiler, and whichever thread drops the error last, or collects garbage, would drop the compiler, too.
    """
    import yara_x

    compiler: Any = yara_x.Compiler()
    for name in NAMES:
        compiler.define_global(name, "")
    for source in sources:
        compiler.new_namespace(str(source.file))
        compiler.add_include_dir(str(source.file.parent))
        with suppress(yara_x.CompileError):  # the compiler keeps its errors, and goes on to those of the other files
            compiler.add_source(source.text, origin=str(source.file))
    if errors := compiler.errors():
        return _Built(errors=errors)
    rules = compiler.build()
    compiled = BytesIO()
    rules.serialize_into(compiled)
    return _Built(compiled=compiled.getvalue(), number=sum(1 for _ in rules))


def _words(error: dict[str, Any]) -> str:
    """Return an error of the compiler in one line: file, line, column, and the words for it."""
    labels = error.get("labels") or [{}]
    where = labels[0].get("code_origin") or "a rule"
    said = labels[0].get("text") or ""
    return f"{where}:{error.get('line')}:{error.get('column')}: {error.get('title')}{f' ({said})' if said else ''}"
