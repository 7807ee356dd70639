"""``docs/format.md`` shows how a block is read by hand, and each line of that does what the page says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SECTION = "## A block read by hand"
BETWEEN = "--- the next command ---"


def commands() -> Iterator[tuple[str, str]]:
    """Yield the commands of the section, each with the lines that it prints."""
    section = (ROOT / "docs" / "format.md").read_text().partition(f"{SECTION}\n")[2].partition("\n## ")[0]
    for language, block in re.findall(r"^```(sh|console)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        if language == "sh":
            yield block, ""
            continue
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, printed = command.partition("\n")
            yield line, printed


def test_the_block_that_is_read_by_hand_in_the_document_is_read_so(tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    told = list(commands())
    script = "".join(f"{command}\necho '{BETWEEN}'\n" for command, _ in told)

    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert len(told) > 20
    assert done.stderr == ""
    printed = done.stdout.split(f"{BETWEEN}\n")
    assert list(zip([command for command, _ in told], printed, strict=False)) == told
