"""A point stays while it is exported, and while it is put onto an export."""

from __future__ import annotations

import pytest

from vmkeep.flows import applying, exports
from vmkeep.images import import_images
from vmkeep.maintenance import plan_deletion
from vmkeep.model.exports import ExportRequest, ImageFormat
from vmkeep.repository import create_repository

KIB = 1 << 10


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "out").mkdir()
    return create_repository(str(tmp_path / "repo"))


def store(repository, folder, content):
    (folder / "disk.raw").write_bytes(content)
    return import_images(repository, [folder / "disk.raw"], name="web")


def looking(repository, point, seen):
    """Return what makes progress functions, each of which looks whether the point could be deleted now."""
    return lambda _disk: lambda _progress: seen.append(plan_deletion(repository, [point.ref]).going)


def test_nobody_deletes_a_point_while_it_is_exported_or_applied(repository, tmp_path):
    first = store(repository, tmp_path, b"first" * KIB)
    second = store(repository, tmp_path, b"other" * KIB)
    request = ExportRequest(point=first.ref, format=ImageFormat.RAW, out=str(tmp_path / "out"))
    exporting, applied = [], []

    done = exports.export(repository, request, on_progress=looking(repository, first, exporting))
    manifest = tmp_path / "out" / done.manifest
    applying.apply(repository, second.ref, manifest, on_progress=looking(repository, second, applied))

    assert set(exporting) == {()}
    assert set(applied) == {()}
    assert len(plan_deletion(repository, [first.ref, second.ref]).going) == 2
