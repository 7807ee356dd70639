"""The process that runs YARA rules over files: ``python -m vmkeep.scanning.yarachild RULES``.

A process of its own, because a scan keeps Python's lock until it ends, and because no file of a stranger may take the
backup program down. It reads questions from standard input: a line of JSON with ``name``, and ``path`` or ``size``; in
the latter case so many bytes follow. It answers each with a line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path, PurePosixPath
from typing import Any, Final

_MEMORY: Final = 4 << 30
"""Most address space of the process, in bytes: rules, a file of 512 MiB twice, and room."""
_SHOWN: Final = 5


def main(rules_file: str, seconds: int) -> None:
    """Answer questions until there are no more."""
    import yara_x

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Path(rules_file).open("rb") as file:
        scanner: Any = yara_x.Scanner(yara_x.Rules.deserialize_from(file))
    scanner.set_timeout(seconds)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := questions.readline():
        question = json.loads(line)
        data = questions.read(question["size"]) if "size" in question else None
        answers.write(json.dumps(_answer(scanner, question, data)).encode() + b"\n")
        answers.flush()


def _answer(scanner: Any, question: dict[str, Any], data: bytes | None) -> dict[str, str]:
    import yara_x

    name = PurePosixPath(question["name"])
    scanner.set_global("filename", name.name)
    scanner.set_global("filepath", str(name.parent))
    scanner.set_global("extension", name.suffix)
    try:
        results = scanner.scan(data) if data is not None else scanner.scan_file(question["path"])
    except yara_x.TimeoutError:
        return {"unscanned": "YARA ended the scan, because it took too long"}
    except (yara_x.ScanError, MemoryError) as error:
        return {"unscanned": f"YARA: {error}"}
    matching = [rule.identifier for rule in results.matching_rules]
    if not matching:
        return {}
    more = f" and {len(matching) - _SHOWN} more" if len(matching) > _SHOWN else ""
    return {"found": ", ".join(matching[:_SHOWN]) + more}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
