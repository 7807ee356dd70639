"""``docs/format.md`` shows how a block is read by hand, and each line of that does what the page says."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECTION = "## A block read by hand"
BETWEEN = "--- the next command ---"
NEEDED = ("bash", "jq", "od", "xxd", "zstd")
B3SUM = f"""#!{sys.executable}
import sys
from blake3 import blake3
words = [word for word in sys.argv[1:] if word != "--no-names"]
context = {{"derive_key_context": words[1]}} if words else {{}}
print(blake3(sys.stdin.buffer.read(), **context).hexdigest())
"""
"""Does what the program of that name does in the page, by its library, where the program is not installed."""


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


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason="a machine without the tools of the page")
def test_the_block_that_is_read_by_hand_in_the_document_is_read_so(tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    tools = tmp_path / "tools"
    tools.mkdir()
    if shutil.which("b3sum") is None:
        (tools / "b3sum").write_text(B3SUM)
        (tools / "b3sum").chmod(stat.S_IRWXU)
    told = list(commands())
    script = "".join(f"{command}\necho '{BETWEEN}'\n" for command, _ in told)

    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert len(told) > 20
    assert done.stderr == ""
    printed = done.stdout.split(f"{BETWEEN}\n")
    assert list(zip([command for command, _ in told], printed, strict=False)) == told
