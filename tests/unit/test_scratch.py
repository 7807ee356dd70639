"""Private folders for temporary files, and what killed processes leave of them."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.patience import HANG
from vmkeep.scratch import private_folder


def test_what_a_killed_process_left_is_removed_and_a_living_one_keeps_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os, signal\nfrom vmkeep.scratch import private_folder\nwith private_folder() as folder:\n"
        "    (folder / 'file').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, timeout=HANG, check=False)
    (dead,) = tmp_path.iterdir()
    with private_folder() as living, private_folder():
        assert dead.exists()  # because a folder as young as that may be of a process that has just begun
        for folder in (dead, living):
            os.utime(folder, (0, 0))
        with private_folder():
            assert not dead.exists()
            assert living.exists()
    assert not list(tmp_path.iterdir())
