"""A process that works on many VMs tries each VDDK library once, and again when somebody has replaced it."""

from __future__ import annotations

import os
import shutil

import pytest

from vmkeep.errors import VmKeepError
from vmkeep.flows import connect
from vmkeep.model.site import Site


@pytest.fixture
def tried(monkeypatch):
    """The folders whose library was tried so far."""
    folders = []
    probe = connect.probe_driver
    monkeypatch.setattr(connect, "probe_driver", lambda site: (folders.append(site.vddk), probe(site)))
    return folders


@pytest.fixture
def site(nineteen, tmp_path):
    shutil.copytree(nineteen, tmp_path / "vddk", symlinks=True)
    return Site(repository="", vddk=str(tmp_path / "vddk"))


def library_of(tmp_path):
    return next((tmp_path / "vddk" / "lib64").glob("*.so.6.5.0"))


def test_a_library_that_loaded_is_tried_once(site, tried):
    connect.check_driver(site)
    connect.check_driver(site)

    assert tried == [site.vddk]


def test_a_library_that_somebody_replaced_is_tried_again(site, tried, tmp_path):
    connect.check_driver(site)
    library = library_of(tmp_path)
    os.utime(library, ns=(0, library.stat().st_mtime_ns + 1))

    connect.check_driver(site)

    assert len(tried) == 2


def test_a_library_that_failed_is_tried_again(site, tried, tmp_path):
    library = library_of(tmp_path)
    whole = library.read_bytes()
    library.write_bytes(whole[:4096])
    for _ in range(2):
        with pytest.raises(VmKeepError):
            connect.check_driver(site)
    library.write_bytes(whole)

    connect.check_driver(site)

    assert len(tried) == 3
