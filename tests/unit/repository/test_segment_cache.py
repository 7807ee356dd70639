"""Index segments kept on this machine: fetched once, believed only if whole, and never needed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import stat
from array import array
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.blobs.local import LocalStore
from vmkeep.errors import StoreFullError
from vmkeep.repository.frames.codecs import Codec
from vmkeep.repository.frames.digests import Kind
from vmkeep.repository.frames.frames import HEADER_SIZE, Framer
from vmkeep.repository.frames.keys import Keys
from vmkeep.repository.frames.packs import PackContents
from vmkeep.repository.index import segmentloader
from vmkeep.repository.index.index import Index
from vmkeep.repository.index.segmentcache import SegmentCache, default_cache
from vmkeep.testing import FaultyStore, MemoryStore

PLAIN = Framer(codec=Codec.ZSTD)
ENCRYPTED = Framer(codec=Codec.ZSTD, keys=Keys(b"k" * 32, repository="r"))


def contents(digests, *, pack=bytes(16)):
    count = len(digests)
    return PackContents(
        pack_id=pack,
        kind=Kind.BLOCK,
        offsets=array("I", [32 + 1000 * row for row in range(count)]),
        lengths=array("I", [1000] * count),
        raw_lengths=array("I", [4096] * count),
        digests=b"".join(digests),
        checksum=0,
    )


def filled(store, framer, segments=3, size=20):
    chance = random.Random(segments)
    index = Index(store, framer)
    groups = [[chance.randbytes(32) for _ in range(size)] for _ in range(segments)]
    for number, group in enumerate(groups):
        index.store_segment([contents(group, pack=bytes([number]) * 16)])
    return [digest for group in groups for digest in group]


def opened(store, framer, cache):
    index = Index(store, framer, cache=cache)
    index.refresh()
    return index


def fetched(store):
    return {key for call, key in store.calls if call in ("get", "get_into", "get_range")}


@pytest.fixture(params=[8 << 20, 100], ids=["small", "large"])
def _size(request, monkeypatch):
    """Segments that are verified at each opening, and such as are not."""
    monkeypatch.setattr(segmentloader, "_VERIFIED", request.param)
    monkeypatch.setattr(segmentloader, "_PIECE", 300)


@pytest.fixture(params=[PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
def framer(request):
    return request.param


@pytest.mark.usefixtures("_size")
def test_a_segment_is_fetched_once_and_read_from_the_cache_then(tmp_path, framer):
    store = FaultyStore(MemoryStore())
    digests = filled(store, framer)
    first = opened(store, framer, tmp_path / "c")
    assert len(fetched(store)) == 3
    store.calls.clear()
    second = opened(store, framer, tmp_path / "c")

    assert not fetched(store)
    assert all(first.find(digest) == second.find(digest) is not None for digest in digests)
    assert not second.damaged


@pytest.mark.usefixtures("_size")
def test_what_is_kept_holds_no_key_and_nobody_else_may_read_it(tmp_path, framer):
    store = MemoryStore()
    filled(store, framer)
    opened(store, framer, tmp_path / "c")
    folder = tmp_path / "c"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if not framer.encrypts:
            assert path.read_bytes() == store.get(f"index/{path.name}")


harms = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 1020)),
    st.tuples(st.just("longer"), st.integers(1, 50)),
    st.tuples(st.just("flip"), st.integers(0, 8 * HEADER_SIZE - 1)),
)


def harm(path, kind, at):
    data = bytearray(path.read_bytes())
    if kind == "cut":
        data = data[:at]
    elif kind == "longer":
        data += bytes(at)
    else:
        data[at // 8 % len(data)] ^= 1 << at % 8
    path.write_bytes(data)


@given(harms, st.booleans())
def test_a_damaged_file_in_the_cache_is_fetched_again_and_replaced(tmp_path_factory, harmed, large):
    cache = tmp_path_factory.mktemp("cache")
    store = MemoryStore()
    with mock.patch.object(segmentloader, "_VERIFIED", 100 if large else 8 << 20):
        digests = filled(store, ENCRYPTED, 1)
        opened(store, ENCRYPTED, cache)
        (path,) = cache.iterdir()
        before = path.read_bytes()
        harm(path, *harmed)
        again = opened(store, ENCRYPTED, cache)

    assert all(again.find(digest) is not None for digest in digests)
    assert not again.damaged
    if not (large and harmed[0] == "flip"):  # of a large file the digest in its header is not compared again
        assert path.read_bytes() == before


@given(st.integers(0, 1023 * 8))
def test_any_flipped_bit_of_a_small_file_is_noticed(tmp_path_factory, at):
    cache = tmp_path_factory.mktemp("cache")
    store = FaultyStore(MemoryStore())
    filled(store, PLAIN, 1)
    opened(store, PLAIN, cache)
    (path,) = cache.iterdir()
    before = path.read_bytes()
    harm(path, "flip", at)
    store.calls.clear()
    opened(store, PLAIN, cache)

    assert fetched(store) == {f"index/{path.name}"}
    assert path.read_bytes() == before


def test_files_of_segments_that_are_gone_and_of_dead_writers_are_removed(tmp_path):
    store = MemoryStore()
    filled(store, PLAIN)
    index = opened(store, PLAIN, tmp_path / "c")
    (tmp_path / "c" / "dead.part").write_bytes(b"half")
    gone = next(store.list("index/")).key
    store.delete(gone)
    index.refresh()

    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        b.key.removeprefix("index/") for b in store.list("index/")
    }


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    cache = SegmentCache(tmp_path / "c")

    def fill(file):
        os.write(file, b"whole")
        assert cache.ids() == set()

    os.close(cache.add("0" * 32, fill, sync=False))
    assert cache.ids() == {"0" * 32}
    assert (tmp_path / "c" / ("0" * 32)).read_bytes() == b"whole"


def test_a_pipe_in_the_place_of_a_cached_file_is_not_waited_for(tmp_path):
    store = MemoryStore()
    held = filled(store, PLAIN)
    (tmp_path / "c").mkdir()
    for name in (*(blob.key.removeprefix("index/") for blob in store.list("index/")), "dead.part"):
        os.mkfifo(tmp_path / "c" / name)

    index = opened(store, PLAIN, tmp_path / "c")

    assert all(index.find(digest) is not None for digest in held)


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("trouble", ["file", "shared", "full", "read only"])
def test_a_folder_that_cannot_be_used_is_done_without(tmp_path, framer, trouble, monkeypatch):
    store = MemoryStore()
    digests = filled(store, framer)
    cache = tmp_path / "c"
    if trouble == "read only":
        cache = Path("/proc/self/cache")
    elif trouble == "file":
        cache.write_bytes(b"")
    elif trouble == "shared":
        cache.mkdir()
        cache.chmod(0o777)
    else:
        monkeypatch.setattr(os, "fsync", no_space)
        monkeypatch.setattr("vmkeep.repository.index.segmentloader._write", no_space)
    index = opened(store, framer, cache)

    assert all(index.find(digest) is not None for digest in digests)
    assert not cache.is_dir() or not list(cache.iterdir())


def no_space(*_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_anywhere_for_a_large_segment_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentloader, "_VERIFIED", 100)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    store = MemoryStore()
    filled(store, PLAIN)

    with pytest.raises(StoreFullError, match="VMKEEP_CACHE"):
        opened(store, PLAIN, tmp_path / "c")


def _open_often(folder, cache, digests, times):
    for _ in range(times):
        index = opened(LocalStore(folder), ENCRYPTED, cache)
        assert all(index.find(digest) is not None for digest in digests)


def test_processes_that_fill_empty_and_harm_one_cache_all_find_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentloader, "_VERIFIED", 100)
    folder, cache = tmp_path / "store", tmp_path / "cache"
    folder.mkdir()
    digests = filled(LocalStore(folder), ENCRYPTED, 6)
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_open_often, args=(folder, cache, digests, 25)) for _ in range(3)]
    for other in others:
        other.start()
    chance = random.Random(5)
    while any(other.is_alive() for other in others):
        for path in list(cache.glob("*")):
            with suppress(FileNotFoundError):
                if chance.random() < 0.5:
                    path.unlink()
    for other in others:
        other.join()

    assert [other.exitcode for other in others] == [0, 0, 0]


def test_where_caches_are(monkeypatch, tmp_path):
    monkeypatch.setenv("VMKEEP_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("VMKEEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the XDG rules say to ignore it
    assert default_cache() == tmp_path / ".cache"
    monkeypatch.setenv("HOME", "relative")
    assert default_cache() is None


def test_large_segments_are_not_mapped_from_a_cache_that_other_machines_share(framer, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentloader, "_VERIFIED", 100)
    monkeypatch.setattr(segmentloader, "_networked", lambda path: path == tmp_path / "shared")
    store = MemoryStore()
    held = filled(store, framer)

    for name, kept in (("shared", 0), ("own", 3)):
        index = opened(store, framer, tmp_path / name)
        assert all(index.find(digest) is not None for digest in held)
        assert len(SegmentCache(tmp_path / name).ids()) == kept


def test_a_large_segment_that_was_cut_off_since_it_was_opened_is_left_out(tmp_path, monkeypatch):
    """Its content was never read as a whole, so whoever asks for the stored segments gets it opened anew."""
    monkeypatch.setattr(segmentloader, "_VERIFIED", 100)
    store = LocalStore(tmp_path)
    filled(store, PLAIN)
    index = opened(store, PLAIN, None)
    keys = [blob.key for blob in store.list("index/")]
    assert {key for key, _, _ in index.stored()} == set(keys)

    path = store.local_path(keys[0])
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1)

    assert {key for key, _, _ in index.stored()} == set(keys[1:])


def test_a_blob_that_was_fetched_before_is_used_for_one_opening_and_let_go():
    store = FaultyStore(MemoryStore())
    filled(store, PLAIN, 1)
    [blob] = store.list("index/")
    loader = segmentloader.SegmentLoader(store, PLAIN, fetched={blob.key: store.get(blob.key)})
    store.calls.clear()

    loader.open(blob.key, blob.size)
    assert not fetched(store)

    loader.open(blob.key, blob.size)
    assert fetched(store) == {blob.key}
