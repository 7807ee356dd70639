"""A repository is made where nothing else is: an empty folder, or one where making it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sealed import CHEAP, PASSPHRASE, store_file
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import RepositoryError
from vmkeep.repository import create_encrypted_repository, create_repository, open_repository
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import FaultyStore


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(slots, "COST", CHEAP)


def make(folder, *, encrypt):
    if encrypt:
        return create_encrypted_repository(str(folder), passphrase=PASSPHRASE).repository
    return create_repository(str(folder))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "file",
    ["letter.odt", ".bashrc", "photos/one.jpg", "name with blanks", "keys/id_ed25519", "keys/id rsa", "probes/one"],
)
def test_a_folder_with_somebodys_files_is_refused_and_stays_as_it_is(tmp_path, file, encrypt):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("content")
    before = names(tmp_path)

    with pytest.raises(
        RepositoryError, match=rf"{tmp_path}: is not empty \({file.partition('/')[0]}.*name an empty one"
    ):
        make(tmp_path, encrypt=encrypt)

    assert names(tmp_path) == before


def test_of_many_files_some_are_named_and_the_others_counted(tmp_path):
    for number in range(12):
        (tmp_path / f"file-{number:02}").touch()

    with pytest.raises(RepositoryError, match=r"\(file-00, file-01, file-02, file-03, file-04 and 7 more\)"):
        create_repository(str(tmp_path))


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("name", [None, "lost+found", ".snapshot", "System Volume Information"])
def test_what_a_file_system_keeps_by_itself_is_in_nobodys_way(tmp_path, name, encrypt):
    if name:
        (tmp_path / name).mkdir()

    assert make(tmp_path, encrypt=encrypt).encrypted is encrypt


@pytest.mark.parametrize("folder", ["packs", "index", "points", "sealed"])
def test_a_repository_that_has_lost_its_descriptor_is_not_made_anew(tmp_path, folder):
    with create_repository(str(tmp_path)) as repository:
        store_file(repository, b"content", run="run")
    (tmp_path / "vmkeep.json").unlink()
    (tmp_path / folder).mkdir(exist_ok=True)
    before = names(tmp_path)

    with pytest.raises(
        RepositoryError, match=r"holds a repository \(.*whose vmkeep.json is missing; nothing was changed"
    ):
        create_repository(str(tmp_path))

    assert names(tmp_path) == before


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("again", [False, True], ids=["then plain", "then encrypted"])
def test_making_a_repository_can_be_interrupted_at_any_write_and_started_again(tmp_path, again):
    for after in range(10):
        folder = tmp_path / str(after)
        folder.mkdir()
        store = FaultyStore(LocalStore(folder))
        store.fail("write", after=after, times=100, with_=Killed)
        made = descriptor.new_descriptor(block_size=65536, compression="none")
        try:
            create_encrypted_in(store, made, passphrase=PASSPHRASE)
        except Killed:
            pass
        else:
            break
        (folder / ".tmp").mkdir(exist_ok=True)
        (folder / ".tmp" / ("0" * 32)).write_bytes(b"half of a slot")

        repository = make(folder, encrypt=again)

        assert repository.encrypted is again
        assert open_repository(str(folder), passphrase=PASSPHRASE if again else None).id == repository.id
    assert after > 2


def test_a_folder_that_only_looks_like_one_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("file", "link"):
        with pytest.raises(RepositoryError):
            create_repository(str(tmp_path / name))
