"""An entry of a folder that is damaged or hostile is an error that names it, and hides no other entry."""

import pytest

from tests.guest_files import image
from tests.nbd_parts import MemoryDisk
from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.filesystems.ntfs.reader import NtfsReader
from vmkeep.guest.filesystems.ntfs.records import Table


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return MemoryDisk(image("ntfs", tmp_path_factory.mktemp("images")).read_bytes())


def listed(files):
    names = []
    with pytest.raises(CorruptError) as caught:
        names.extend(entry.path for entry in files.entries("/"))
    return names, str(caught.value)


def test_a_stale_entry_hides_no_other_one_and_keeps_no_volume_closed(disk, monkeypatch):
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        good = [entry.path for entry in files.entries("/")]
        stale = files.entry("/empty").identity
    follow = Table.follow

    def refusing(self, reference):
        if reference & (1 << 48) - 1 == stale:
            raise CorruptError("a folder names a record which is not in use")
        return follow(self, reference)

    monkeypatch.setattr(Table, "follow", refusing)
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        names, told = listed(files)

    assert names == [path for path in good if path != "/empty"]
    assert "/empty" in told


def test_a_name_that_occurs_twice_is_told_and_leads_to_its_first_file(disk, monkeypatch):
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        first, other = [each for each in files.entries("/") if each.kind == "file"][:2]
    children = NtfsReader.children

    def twice(self, node):
        for name, child in children(self, node):
            yield (name if child.reference & (1 << 48) - 1 != other.identity else first.name), child

    monkeypatch.setattr(NtfsReader, "children", twice)
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        names, told = listed(files)
        found = files.entry(first.path)

    assert names.count(first.path) == 1
    assert "twice" in told
    assert found.identity == first.identity
