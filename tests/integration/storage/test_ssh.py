"""A real SSH server: who is let in, what is refused before anything is sent, and the whole way of a repository."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.life import live
from tests.sealed import store_file
from vmkeep.blobs.opening import create_store, open_store
from vmkeep.blobs.ssh import sftp, sftpnames, sshaccess
from vmkeep.blobs.ssh.sftp import SftpStore
from vmkeep.blobs.ssh.sshaccess import SshAccess, parse_location
from vmkeep.blobs.store import backend
from vmkeep.errors import (
    AuthenticationError,
    CertificateError,
    ConflictError,
    RepositoryError,
    StoreError,
    StoreFullError,
    UnreachableError,
    UsageError,
)
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import create_repository

MIB = 1 << 20


@pytest.fixture
def location(ssh_server, ssh_home, tmp_path):
    return ssh_server.location(tmp_path / "repository")


@pytest.fixture
def another_home(ssh_server, ssh_home, tmp_path, monkeypatch):
    """The same user on another machine, where everything may be changed."""
    home = tmp_path / "home"
    shutil.copytree(ssh_home, home)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_a_repository_lives_behind_ssh_from_the_command_line(location, tmp_path):
    live(location, tmp_path)
    assert not list((tmp_path / "repository" / ".tmp").iterdir())


def test_what_was_written_through_ssh_is_a_folder_like_any_other(location, tmp_path):
    create_store(location).put("packs/ab/one", b"content")

    assert open_store(str(tmp_path / "repository")).get("packs/ab/one") == b"content"


def test_an_unknown_host_is_refused_with_the_remedy(location, another_home):
    (another_home / ".ssh" / "known_hosts").unlink()

    with pytest.raises(CertificateError, match=r"not in ~/\.ssh/known_hosts; .*SHA256:.*ssh-keyscan -p \d+ 127"):
        create_store(location)


def test_a_host_with_another_key_is_refused(location, another_home):
    known = another_home / ".ssh" / "known_hosts"
    host = known.read_text().split()[0]
    public = (another_home / ".ssh" / "id_ed25519.pub").read_text().split()
    known.write_text(f"{host} {public[0]} {public[1]}\n")

    with pytest.raises(CertificateError, match=r"host key is not the one .*ssh-keygen -R '\[127"):
        create_store(location)


def test_a_key_that_nobody_authorized_is_refused_without_a_question(location, another_home):
    key = another_home / ".ssh" / "id_ed25519"
    key.unlink()
    (another_home / ".ssh" / "id_ed25519.pub").unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    with pytest.raises(AuthenticationError, match=r"accepts none of the keys .*authorized_keys"):
        create_store(location)


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_no_key_and_a_locked_key_are_told_without_a_question(location, another_home, passphrase):
    key = another_home / ".ssh" / "id_ed25519"
    if passphrase:
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", key], check=True)
    else:
        key.unlink()

    with pytest.raises(AuthenticationError, match=r"ssh-add"):
        create_store(location)


def test_a_server_that_is_not_there_is_unreachable(ssh_home):
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 cannot be reached: Connection refused; check"):
        open_store("sftp://root@127.0.0.1:1/backup")


def test_only_the_last_folder_is_created(location):
    with pytest.raises(RepositoryError, match="no such folder"):
        open_store(location)
    with pytest.raises(RepositoryError, match=r"no folder .*missing there"):
        create_store(location.replace("/repository", "/missing/repository"))
    create_store(location).put("a", b"1")
    assert open_store(location).get("a") == b"1"


def test_a_folder_that_is_gone_is_not_created_again(location, tmp_path):
    create_store(location)
    store = SftpStore(SshAccess(parse_location(location)))
    (tmp_path / "repository").rmdir()

    with pytest.raises(StoreError, match="a folder above it is gone"):
        store.put("a/b", b"1")
    assert not (tmp_path / "repository").exists()


def test_nothing_is_taken_for_deleted_behind_a_link_to_a_disk_that_is_not_mounted(location, tmp_path):
    store = backend(create_store(location))
    (tmp_path / "disk").mkdir()
    (tmp_path / "repository" / "packs").symlink_to(tmp_path / "disk")
    store.put("packs/ab/c", b"1")
    assert [blob.key for blob in store.list("packs/")] == ["packs/ab/c"]
    (tmp_path / "disk").rename(tmp_path / "not mounted")

    for look in (
        lambda: list(store.list("packs/")),
        lambda: store.size("packs/ab/c"),
        lambda: store.get("packs/ab/c"),
        lambda: store.get_range("packs/ab/c", 0, 1),
        lambda: store.get_into("packs/ab/c", 0, memoryview(bytearray(1))),
    ):
        with pytest.raises(StoreError, match=f"packs: is a link to {tmp_path}/disk, where nothing is: mount"):
            look()
    assert list(store.list("index/")) == []


def test_a_link_that_leads_back_is_left_out_of_listings_and_other_links_are_followed(location, tmp_path):
    store, root, elsewhere = backend(create_store(location)), tmp_path / "repository", tmp_path / "elsewhere"
    for folder in (root / "points" / "a", root / "packs", elsewhere):
        folder.mkdir(parents=True)
    store.put("points/a/b", b"x")
    (root / "packs" / "ab").symlink_to(elsewhere)
    store.put("packs/ab/c", b"yy")
    (root / "packs" / "ab" / "d").symlink_to("c")
    (root / "points" / "loop").symlink_to(".")
    (root / "points" / "a" / "up").symlink_to(tmp_path)
    (elsewhere / "far").symlink_to(elsewhere)

    found = [(blob.key, blob.size) for blob in store.list("")]

    assert found == [("packs/ab/c", 2), ("packs/ab/d", 2), ("points/a/b", 1)]
    assert [blob.key for blob in store.list("points/")] == ["points/a/b"]


def test_large_blobs_and_many_threads_share_one_connection(location):
    create_store(location)
    store = SftpStore(SshAccess(parse_location(location)))
    blobs = {f"packs/{number}": random.Random(number).randbytes(MIB + number) for number in range(8)}
    blobs["packs/9"] = random.Random(9).randbytes(9 * MIB + 5)
    threads = [threading.Thread(target=store.put, args=each) for each in blobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {info.key: info.size for info in store.list("packs/")} == {key: len(data) for key, data in blobs.items()}
    assert all(store.get(key) == data for key, data in blobs.items())
    assert store.get_range("packs/9", 8 * MIB - 3, 10) == blobs["packs/9"][8 * MIB - 3 : 8 * MIB + 7]
    with pytest.raises(ConflictError):
        store.put("packs/9", blobs["packs/9"][:-1] + b"?")


def test_a_lost_connection_is_made_again(location):
    create_store(location)
    access = SshAccess(parse_location(location))
    store = SftpStore(access)
    store.put("a/b", b"1")

    access._client.get_transport().close()

    assert store.get("a/b") == b"1"


@pytest.fixture
def small(tmp_path):
    """A file system of one mebibyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_server_that_hangs_is_waited_for_only_so_long_and_used_again_later(ssh_server, location, monkeypatch):
    """It is frozen, as a machine that swaps or whose disk hangs is."""
    create_store(location).put("packs/ab/one", b"content")
    access = SshAccess(parse_location(location))
    store = SftpStore(access)
    with access.channel() as lent:
        with access.channel() as other:
            other.get_channel().settimeout(0.3)
        with frozen(ssh_server), monkeypatch.context() as patch:
            patch.setattr(sshaccess, "_SILENCE", 0.3)
            with pytest.raises(StoreError, match=r"packs/ab/one: the server hangs: it has not answered for 0\.3 s"):
                store.get("packs/ab/one")
            with pytest.raises(StoreError, match=r"opens no SFTP channel: it has not answered for 0\.3 seconds"):
                store.get("packs/ab/one")
        assert lent.get_channel().closed, "whoever waits for the same connection is told, too"

    assert store.get("packs/ab/one") == b"content"
    store.close()


@contextmanager
def frozen(server):
    """Stop the processes of a server's sessions. The one that listens goes on."""
    (listener,) = map(int, subprocess.check_output(["pgrep", "-f", f"{server.home.parent}/sshd_config"]).split())
    sessions = children_of(listener)
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    own = [int(each) for task in tasks for each in task.read_text().split()]
    return [*own, *(below for each in own for below in children_of(each))]


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_full_disk_of_the_server_is_told_at_once_and_leaves_nothing(ssh_server, ssh_home, small, verb):
    store = create_store(ssh_server.location(small / "repository"))
    store.put("packs/ab/one", bytes(256 << 10))

    store._sleep = lambda _seconds: pytest.fail("it would be tried again, which cannot help")
    with pytest.raises(StoreFullError, match=r"sftp://.*no space left for packs/ab/two \(1048576 bytes more"):
        getattr(store, verb)("packs/ab/two", random.Random(1).randbytes(MIB))

    assert [info.key for info in store.list("")] == ["packs/ab/one"]
    assert not list((small / "repository" / ".tmp").iterdir())
    store.put("packs/ab/three", bytes(256 << 10))


def test_another_failure_of_the_server_is_not_taken_for_a_full_disk(location, tmp_path):
    create_store(location)
    store = SftpStore(SshAccess(parse_location(location)))
    (tmp_path / "repository" / "packs").write_bytes(b"a file where a folder should be")

    with pytest.raises(StoreError) as raised:
        store.put("packs/ab/one", b"1")
    assert not isinstance(raised.value, StoreFullError)


def test_leaving_a_repository_ends_its_connection_and_using_it_again_makes_one(location):
    with create_repository(location) as repository:
        store_file(repository, b"content", run="run")
        access = backend(repository.blobs)._access
        transport = access._client.get_transport()
    assert not transport.is_active()
    assert access._client is None

    assert repository.stats().packs > 0


@pytest.mark.parametrize(
    ("location", "port", "path"),
    [
        ("sftp://me@host/srv/repo", 22, "/srv/repo"),
        ("sftp://me@host:2222/srv/repo/", 2222, "/srv/repo"),
        ("scp://me@host:/srv/repo", 22, "/srv/repo"),
        ("scp://me@host:repo", 22, "repo"),
    ],
)
def test_a_location_is_a_user_a_host_and_a_path(location, port, path):
    place = parse_location(location)

    assert (place.user, place.host, place.port, place.path) == ("me", "host", port, path)


@pytest.mark.parametrize(
    "location", ["sftp://host/x", "sftp://me:secret@host/x", "sftp://me@host", "scp://me@host/x", "sftp://me@host/"]
)
def test_other_locations_are_refused(location):
    with pytest.raises(UsageError):
        parse_location(location)


def _refuse_links(monkeypatch):
    """Be a server, or a file system of one, that makes no hard links."""

    def refuse(_channel, _old, _new):
        raise OSError("Operation unsupported")

    monkeypatch.setattr(sftpnames, "link", refuse)
    monkeypatch.setattr(sftp, "link", refuse)


def test_a_server_that_makes_no_hard_links_stores_blobs_and_is_refused_by_a_prune(location, tmp_path, monkeypatch):
    _refuse_links(monkeypatch)
    with create_repository(location) as repository:
        store_file(repository, b"content", run="run")
        plan = plan_prune(repository, None, margins=Margins(), now=datetime(2026, 1, 1, tzinfo=UTC))

        with pytest.raises(RepositoryError, match=r"nothing can be deleted safely there, .*no hard links"):
            execute(repository, plan)
        assert repository.stats().packs > 0
    assert list((tmp_path / "repository" / ".tmp").iterdir()) == []


def test_a_rename_of_a_server_that_replaces_never_overwrites_a_blob_that_is_there(location, monkeypatch):
    _refuse_links(monkeypatch)
    monkeypatch.setattr(sftpnames, "rename", lambda channel, old, new: channel.posix_rename(old, new))
    store = create_store(location)
    store.put("a/b", b"content")

    with pytest.raises(ConflictError):
        store.put("a/b", b"other")
    assert store.put("a/b", b"content") is False
    assert store.get("a/b") == b"content"


def test_temporary_files_of_dead_writers_go_once_they_are_old(location, tmp_path):
    create_store(location).put("a/b", b"content")
    store = SftpStore(SshAccess(parse_location(location)))
    folder = tmp_path / "repository" / ".tmp"
    for name, days in {"0" * 32: 8, "1" * 32: 6, "not-one-of-ours": 8}.items():
        (folder / name).write_bytes(b"half of a pack")
        then = (folder / name).stat().st_mtime - days * 86400
        os.utime(folder / name, (then, then))

    assert store.remove_leftovers(left_for=timedelta(days=7)) == 1

    assert {path.name for path in folder.iterdir()} == {"1" * 32, "not-one-of-ours"}


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_writer_whose_temporary_file_is_taken_for_a_dead_ones_writes_it_again(location, monkeypatch, verb):
    create_store(location)
    store, other = (SftpStore(SshAccess(parse_location(location))) for _ in range(2))
    cleaned = []
    write = sftp.write_synced

    def stopped(channel, handle, data):
        write(channel, handle, data)
        if data and not cleaned:
            cleaned.append(other.remove_leftovers(left_for=timedelta(0)))

    monkeypatch.setattr(sftp, "write_synced", stopped)

    getattr(store, verb)("packs/ab/x", b"content")

    assert cleaned == [1]
    assert store.get("packs/ab/x") == b"content"


def test_a_full_disk_is_told_by_its_free_space_whatever_the_servers_words(ssh_server, ssh_home, tmp_path):
    """SFTP has no number for it; its text is the server's, in any language."""
    store = SftpStore(SshAccess(parse_location(ssh_server.location(tmp_path))))

    with pytest.raises(StoreFullError, match="no space left"), store._channel("a", writing=1 << 60):
        raise OSError("Fehlschlag")
    with (
        pytest.raises(StoreError, match=r"Fehlschlag .a quota that is used up") as raised,
        store._channel("a", writing=1),
    ):
        raise OSError("Fehlschlag")
    assert not isinstance(raised.value, StoreFullError)


@pytest.mark.parametrize("name", ["letter.odt", ".bashrc", "packs/ab/one"])
def test_a_repository_is_not_made_among_other_files(location, tmp_path, name):
    (tmp_path / "repository" / name).parent.mkdir(parents=True)
    (tmp_path / "repository" / name).write_bytes(b"content")

    with pytest.raises(RepositoryError, match=r"sftp://.*(is not empty \(|whose vmkeep.json is missing)"):
        create_repository(location)

    assert not (tmp_path / "repository" / "vmkeep.json").exists()
