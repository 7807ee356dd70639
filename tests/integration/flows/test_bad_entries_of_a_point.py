"""Entries of a folder that cannot be read are each named, and hide no other one, whatever command comes upon them."""

from __future__ import annotations

import json
import subprocess
import tarfile

import pytest

from tests.command_line import run_here
from vmkeep.flows import point_file_list
from vmkeep.images import import_images
from vmkeep.repository import create_repository, open_repository

GOOD = ["/etc/a", "/etc/d", "/etc/sub"]
BAD = ["/etc/b", "/etc/c"]


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """A repository with a point of an ext4 in which two files of one folder have lost their inodes."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "tree/etc/sub").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "sub/deep"):
        (folder / "tree/etc" / name).write_text(name)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "tree", folder / "image", "4M"], check=True)
    for name in ("b", "c"):
        subprocess.run(["debugfs", "-w", "-R", f"clri /etc/{name}", folder / "image"], check=True, capture_output=True)
    repository = create_repository(str(folder / "repository"))
    import_images(repository, [folder / "image"], name="torn")
    return str(folder / "repository")


def files(where, *arguments, code=90):
    done = run_here("point", "files", *arguments, "-r", where)
    assert done.returncode == code, done.stderr
    return done


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("options", [["ls"], ["ls", "--sha256"], ["ls", "-R"], ["find"]], ids=" ".join)
def test_the_good_entries_are_listed_and_each_bad_one_is_named(where, options):
    verb, *rest = options
    listed = lines(files(where, verb, *rest, "latest:torn", "disk0:/etc", "--json"))
    deep = ["/etc/sub/deep"] if options in (["ls", "-R"], ["find"]) else []

    assert sorted(each["path"] for each in listed if not each["problem"]) == sorted([*GOOD, *deep])
    assert [each["path"] for each in listed if each["problem"]] == BAD


def test_a_person_sees_the_good_entries_the_bad_ones_and_that_the_listing_is_not_whole(where):
    done = files(where, "ls", "latest:torn", "disk0:/etc")

    assert done.stdout.split() == ["a", "d", "sub/"]
    assert all(f"warning: {name}: the entry /etc/{name} cannot be read" in done.stderr for name in "bc")
    assert "the listing is not whole: 2 entries could not be read" in done.stderr


def test_of_very_many_bad_entries_some_are_named_and_all_are_counted(where, monkeypatch):
    monkeypatch.setattr(point_file_list, "MOST_NAMED", 1)
    for options in (["ls"], ["ls", "-R"]):
        verb, *rest = options
        listed = lines(files(where, verb, *rest, "latest:torn", "disk0:/etc", "--json"))

        assert [(each["path"], each["problem"][:12]) for each in listed if each["problem"]] == [
            ("/etc/b", "the entry /e"), ("/etc", "1 more entry"),
        ]  # fmt: skip


def test_an_archive_without_the_bad_entries_names_all_of_them(where, tmp_path):
    arguments = ("get", "latest:torn", "disk0:/etc", str(tmp_path / "etc.tar"), "--json")
    fetched = json.loads(files(where, *arguments, "--keep-going", code=14).stdout)

    assert [each["path"] for each in fetched["failures"]] == BAD
    with tarfile.open(tmp_path / "etc.tar") as archive:
        assert archive.getnames() == ["etc", "etc/a", "etc/d", "etc/sub", "etc/sub/deep"]


def test_an_archive_ends_with_the_first_bad_entry_unless_somebody_wants_to_go_on(where, tmp_path):
    done = files(where, "get", "latest:torn", "disk0:/etc", str(tmp_path / "etc.tar"))

    assert done.stderr.count("disk0:/etc") == 1, "the place is told once"
    assert "disk0:/etc/b: the entry /etc/b cannot be read" in done.stderr.replace("disk0: ", "")
    assert not (tmp_path / "etc.tar").exists()


def test_an_index_says_how_many_entries_it_lacks(where):
    head = json.loads(files(where, "index", "latest:torn", "--json", code=0).stdout)

    (volume,) = head["volumes"]
    assert volume["entries"] == 6  # /lost+found, /etc, and four in it
    assert volume["problem"].startswith("2 entries could not be read, first /etc/b: ")


def test_a_comparison_does_not_call_the_bad_entries_alike(where):
    compared = lines(files(where, "diff", "latest:torn", "latest:torn", "--json"))

    assert [(each["change"], each["path"]) for each in compared] == [("unknown", "/etc")]


def test_a_comparison_of_a_point_with_itself_tells_each_warning_once(where):
    with open_repository(where) as repository:
        ref = repository.find_point("latest:torn").ref
        repository.marks.suspect(ref, "disk0", reason="a block was left out")
        done = files(where, "diff", ref, ref)
        repository.marks.trust(ref, reason="it was looked at", by="a test")

    assert done.stderr.count("a block was left out") == 1
