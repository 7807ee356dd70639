"""Repositories that older versions made can be opened, checked, listed and restored, and are left as they are."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vmkeep.clock import now
from vmkeep.errors import RepositoryError
from vmkeep.images import export_image, import_images
from vmkeep.repository import decode_extents, open_repository

FOLDER = Path(__file__).parent
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz"))


class Old:
    """An old repository, unpacked, and what has to come out of it."""

    def __init__(self, name: str, folder: Path) -> None:
        subprocess.run(["tar", "-xzf", FOLDER / f"{name}.tar.gz", "--no-same-owner", "-C", folder], check=True)
        self.folder = folder / name
        self.expected: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))

    def open(self):
        return open_repository(str(self.folder), passphrase=self.expected["passphrase"])

    def tree(self) -> dict[str, str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module", params=NAMES)
def old(request, tmp_path_factory):
    """A copy that nobody may write to; whether somebody did all the same is looked at afterwards."""
    made = Old(request.param, tmp_path_factory.mktemp("compat"))
    before = made.tree()
    folders = [made.folder, *(path for path in made.folder.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield made
    for folder in folders:
        folder.chmod(0o755)
    assert made.tree() == before, "reading a repository changed it"


def restored(repository, ref, out: Path) -> dict[str, str]:
    """SHA-256 of every disk of a point, by device key."""
    point = repository.find_point(ref)
    hashes = {}
    for number, image in enumerate(sorted(point.images, key=lambda image: image.disk.key)):
        export_image(repository, point, number, out / "disk.raw", overwrite=True)
        hashes[str(image.disk.key)] = hashlib.sha256((out / "disk.raw").read_bytes()).hexdigest()
    return hashes


def test_there_is_one_of_each_form_of_the_format():
    assert {"1-zstd", "1-lz4", "1-none", "1-encrypted", "1-argon2id"} <= set(NAMES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 300_000


def test_it_opens_and_every_stored_byte_checks(old):
    with old.open() as repository:
        assert repository.id == old.expected["id"]
        assert repository.check(read_data=True) == []


def test_its_points_are_listed_as_they_were_sealed(old):
    with old.open() as repository:
        points = list(repository.points())

    assert [
        {
            "ref": point.ref,
            "taken_at": point.taken_at.isoformat(),
            "kind": point.kind,
            "change_ids": {str(image.disk.key): image.change_id for image in point.images},
            "skipped": [disk.key for disk in point.skipped],
        }
        for point in points
    ] == [{key: value for key, value in point.items() if key not in ("disks", "files")} for point in expected(old)]


def test_every_disk_is_restored_byte_for_byte(old, tmp_path):
    with old.open() as repository:
        for point in expected(old):
            assert restored(repository, point["ref"], tmp_path) == point["disks"]


def test_every_file_that_was_kept_comes_back(old):
    with old.open() as repository:
        for point in expected(old):
            loaded = repository.load_point(point["ref"])
            files = {name: repository.load_attachment(loaded, name) for name in loaded.attachments}
            hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            assert {name: hashes[name] for name in point["files"]} == point["files"]
            assert all(decode_extents(data) is not None for name, data in files.items() if name.startswith("extents/"))


def test_its_pin_holds(old):
    with old.open() as repository:
        assert set(repository.marks.all()) == {old.expected["pinned"]}
        assert repository.marks.is_pinned(old.expected["pinned"], at=now() + timedelta(days=36500))
        assert repository.marks.pin_of(old.expected["pinned"]).reason == "kept for the tests"


def test_an_encrypted_one_opens_with_both_its_keys_and_with_no_other(old):
    if old.expected["passphrase"] is None:
        with pytest.raises(RepositoryError):
            open_repository(str(old.folder), passphrase="a passphrase for nothing")
        return
    with open_repository(str(old.folder), passphrase=old.expected["recovery_key"]) as repository:
        assert len(list(repository.point_refs())) == 2
    with pytest.raises(RepositoryError, match="wrong passphrase"):
        open_repository(str(old.folder), passphrase=old.expected["passphrase"] + "!")


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_written_to_and_what_it_had_stays(name, tmp_path):
    old = Old(name, tmp_path)
    (tmp_path / "new.raw").write_bytes(b"new content, " * 5000 + bytes(1000 * 512 - 65000))

    with old.open() as repository:
        new = import_images(repository, [tmp_path / "new.raw"], name="new")
    with old.open() as repository:
        (image,) = restored(repository, new.ref, tmp_path).values()
        assert image == hashlib.sha256((tmp_path / "new.raw").read_bytes()).hexdigest()
        assert repository.check(read_data=True) == []
        for point in expected(old):
            assert restored(repository, point["ref"], tmp_path) == point["disks"]
            assert datetime.fromisoformat(point["taken_at"]) == repository.load_point(point["ref"]).taken_at


def expected(old: Old) -> list[dict[str, Any]]:
    return old.expected["points"]
