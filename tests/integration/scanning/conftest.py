"""A real daemon of ClamAV, with a database of one signature, for all tests of a module."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmkeep.scanning import ScannerPlaces, open_scanners
from vmkeep.scanning.contract import Content

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def content(data, name="/etc/file"):
    """Return bytes as a file's content."""
    return Content(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest(), data=data)


@contextmanager
def database(**files):
    """Make a folder of signatures that ClamAV's user may read, too. The folders of pytest are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for kind, content in files.items():
            (folder / f"test.{kind}").write_text(content)
        yield folder


@pytest.fixture(scope="session")
def signatures():
    """A folder with a signature of the test virus, at any place of a file."""
    with database(ndb=f"Test.Eicar:0:*:{EICAR.hex()}\n") as folder:
        yield folder


@pytest.fixture(scope="module")
def clamav(signatures):
    """A scanner over a daemon that was started for it."""
    with open_scanners(ScannerPlaces(clamav=str(signatures)), threads=2) as [scanner]:
        yield scanner
