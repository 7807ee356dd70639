"""Secrets of a child that lives with VDDK's libraries, and the libraries that are tried before a backup."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sealed import CHEAP, PASSPHRASE
from vmkeep.errors import CorruptError, RepositoryError, UsageError
from vmkeep.model.site import Site
from vmkeep.repository import create_encrypted_repository
from vmkeep.repository.unlock import slots
from vmkeep.transfer import child_process, probe_driver, start_copy, starting


@pytest.fixture
def sealed(place, monkeypatch, tmp_path):
    """Return the place with an encrypted repository."""
    monkeypatch.setattr(slots, "COST", CHEAP)
    create_encrypted_repository(str(tmp_path / "encrypted"), passphrase=PASSPHRASE)
    return replace(place, site=replace(place.site, repository=str(tmp_path / "encrypted"), passphrase=PASSPHRASE))


@pytest.fixture
def said(monkeypatch):
    """Collect the lines that children are told."""
    lines = []
    say = child_process.RunningTransfer._say

    def listen(self, line):
        lines.append(line)
        say(self, line)

    monkeypatch.setattr(child_process.RunningTransfer, "_say", listen)
    return lines


def copy(place):
    with start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as transfer:
        return transfer.wait()


def test_a_child_gets_the_unwrapped_key_and_no_passphrase(sealed, said):
    with start_copy(sealed.site, sealed.job(), cursor=None, on_progress=lambda _: None) as transfer:
        proc = Path(f"/proc/{transfer.pid}")
        told = json.loads(said[0])
        assert len(bytes.fromhex(told["master"])) == 32
        assert told["site"]["passphrase"] is None
        for name in ("cmdline", "environ"):
            text = (proc / name).read_bytes()
            assert PASSPHRASE.encode() not in text
            assert told["master"].encode() not in text
        assert transfer.wait().bytes_read == len(sealed.content)
    assert all(PASSPHRASE.encode() not in line for line in said)
    assert told["master"] not in repr(child_process.ChildRequest.decode(said[0]))


def test_a_child_unwraps_nothing_itself(sealed, monkeypatch):
    """The slots are gone once the parent has read them, and the child still has its key."""
    unlock = starting.unlock_site

    def take_away(site):
        master = unlock(site)
        for slot in (Path(site.repository) / "keys").iterdir():
            slot.unlink()
        return master

    monkeypatch.setattr(starting, "unlock_site", take_away)
    assert copy(sealed).bytes_read == len(sealed.content)


def test_a_repository_in_clear_takes_no_key(place, said):
    copy(place)
    assert json.loads(said[0])["master"] is None


@pytest.mark.parametrize(
    ("passphrase", "error"), [("a wrong one", RepositoryError), (None, RepositoryError)], ids=["wrong", "none"]
)
def test_no_child_is_started_without_the_key(sealed, said, passphrase, error):
    with pytest.raises(error, match=r"passphrase|PASSPHRASE"):
        copy(replace(sealed, site=replace(sealed.site, passphrase=passphrase)))
    assert said == []


def test_a_key_opens_no_repository_whose_descriptor_was_replaced_meanwhile(sealed, place, monkeypatch):
    unlock = starting.unlock_site

    def replace_it(site):
        master = unlock(site)
        shutil.copyfile(Path(place.site.repository) / "vmkeep.json", Path(site.repository) / "vmkeep.json")
        return master

    monkeypatch.setattr(starting, "unlock_site", replace_it)
    with pytest.raises((RepositoryError, CorruptError), match=r"vmkeep\.json"):
        copy(sealed)


@pytest.mark.parametrize(
    ("name", "modules"), [("libcrypto.so.3", "hashlib|ssl"), ("libssl.so.3", "ssl"), ("libstdc++.so.6", "numpy")]
)
def test_a_library_of_vddk_that_pythons_modules_cannot_use_is_told_before_a_backup(nineteen, tmp_path, name, modules):
    """A stand-in for what VDDK 8 ships: of the right name, and without what Python's own modules need of it."""
    folder = tmp_path / "vddk"
    shutil.copytree(nineteen, folder, symlinks=True)
    build = ["cc", "-shared", "-fPIC", "-x", "c", f"-Wl,-soname,{name}", "-o", str(folder / "lib64" / name), "-"]
    subprocess.run(build, input=b"int of_vddk;", check=True)
    if name.split(".so")[0] not in _libraries_of_modules():
        pytest.skip(f"this Python does not load {name} from the system")
    expected = rf"Python's ({modules}) does not work in one process with VDDK 6\.5\.0, which brings .*{re.escape(name)}"
    with pytest.raises(UsageError, match=expected):
        probe_driver(Site(repository="", vddk=str(folder)))


def _libraries_of_modules():
    """Return the base names of all libraries that Python's own modules load."""
    code = "import _hashlib, _ssl, numpy; print(open('/proc/self/maps').read())"
    done = subprocess.run([child_process.sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {Path(line.split()[-1]).name.split(".so")[0] for line in done.stdout.splitlines() if ".so" in line}
