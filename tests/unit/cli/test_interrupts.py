"""Signals that end a command, at moments when Python or a library would lose them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from vmkeep.cli.interrupts import catch_interrupts
from threading import Event
catch_interrupts()
try:
    import greedy
    if greedy.LOADED:
        Event().wait(600)
except KeyboardInterrupt:
    print("interrupted")
"""


def run(tmp_path, library):
    """Run a program that imports a library; return what it says."""
    (tmp_path / "greedy.py").write_text(library)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])},
    )  # fmt: skip
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_during_an_import_waits_until_the_library_is_whole(tmp_path, number):
    said, error = run(
        tmp_path,
        f"""
import os
try:
    os.kill(os.getpid(), {int(number)})
    LOADED = True
    print("whole", end=" ", flush=True)
except BaseException:
    LOADED = False
""",
    )

    assert (said, error) == (["whole", "interrupted"], "")


def test_a_second_interruption_does_not_wait_for_an_import(tmp_path):
    said, error = run(
        tmp_path,
        f"""
import os, threading
for _ in range(2):
    os.kill(os.getpid(), {int(signal.SIGINT)})
threading.Event().wait(600)
""",
    )

    assert (said, error) == (["interrupted"], "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interruption_during_loading_leaves_one_line_or_a_json_document(options):
    code = f"""
import os, sys
from vmkeep.cli.start import start

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), {int(signal.SIGINT)})

sys.meta_path.insert(0, Interrupting())
sys.argv = ["vmkeep", "point", "list", *{options}]
start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "vmkeep: interrupted\n")
    said = {"error": "interrupted", "class": "CancelledError", "recovery": "retry"} if options else ""
    assert (json.loads(done.stdout) if options else done.stdout) == said


def test_an_interruption_after_the_last_word_changes_nothing():
    code = f"""
import os, sys
from vmkeep.cli.main import main

sys.argv = ["vmkeep", "--version"]
try:
    main()
finally:
    os.kill(os.getpid(), {int(signal.SIGTERM)})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vmkeep")
