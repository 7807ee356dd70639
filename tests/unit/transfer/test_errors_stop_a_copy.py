"""An error at any stage ends the copy with that error: once, promptly, with no thread left behind."""

from __future__ import annotations

import random
import threading

import pytest

from tests.patience import HANG
from vmkeep.errors import CancelledError, StoreError, StoreFullError, TransferError
from vmkeep.repository import BlockWriter, Kind
from vmkeep.repository.blocks import otherwriters, sink, writer
from vmkeep.repository.frames.frames import Framer
from vmkeep.repository.index.index import Index
from vmkeep.repository.notes import announcements
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore, MemoryStore
from vmkeep.transfer import reading, storing
from vmkeep.transfer.mapcopy import MapCopy
from vmkeep.transfer.pipeline import Conveyor, Crew
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536
CONTENT = random.Random(1).randbytes(60 * BLOCK)


class Injected(Exception):
    pass


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    yield
    assert [t.name for t in threading.enumerate() if t.name in ("transfer", "pack-sink", "lease")] == []


def raises(*_args, **_kwargs):
    raise Injected("injected")


def later(count, call):
    """Let a few calls pass."""
    left = [count]

    def counted(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raises()
        return call(*args, **kwargs)

    return counted


@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_error_of_the_source_ends_a_backup(repository, small_packs, disk, back_up, after):
    source = disk(CONTENT)
    source.before_piece = later(after, lambda extent: None)

    with pytest.raises(Injected):
        back_up(source, repository, piece_size=BLOCK)


@pytest.mark.parametrize("after", [0, 5])
@pytest.mark.parametrize("stage", [(Framer, "pack"), (Index, "known"), (Index, "store_segment")])
def test_an_error_of_the_engine_ends_a_backup(repository, small_packs, disk, back_up, monkeypatch, stage, after):
    owner, name = stage
    if name == "store_segment":
        after = 0
    monkeypatch.setattr(owner, name, later(after, getattr(owner, name)))

    with pytest.raises(Injected):
        back_up(disk(CONTENT), repository, piece_size=BLOCK)


@pytest.mark.parametrize("error", [StoreError("gone"), StoreFullError("full")])
@pytest.mark.parametrize(("prefix", "after"), [("packs/", 0), ("packs/", 1), ("packs/", 9), ("index/", 0)])
def test_an_error_of_the_store_ends_a_backup(store, reopen, small_packs, disk, back_up, prefix, after, error):
    faulty = FaultyStore(store)
    faulty.fail("put", after=after, times=10**6, with_=error, prefix=prefix)

    with pytest.raises(type(error)):
        back_up(disk(CONTENT), reopen(faulty), piece_size=BLOCK)


@pytest.mark.parametrize("call", ["check", "on_progress"])
def test_an_error_of_the_caller_ends_a_backup(repository, disk, back_up, monkeypatch, call):
    monkeypatch.setattr(storing, "_CHECK_SECONDS", 0)
    source = disk(CONTENT)
    stand = threading.Event()
    source.before_piece = lambda extent: stand.wait(0.5)

    with pytest.raises(Injected):
        back_up(source, repository, **{call: raises})


def restore(repository, root, target, **fields):
    given = {"fresh": True, "on_progress": lambda _: None, "check": lambda: None}
    return restore_disk(repository, root, target, **(given | fields))


@pytest.mark.parametrize("after", [0, 1, 20])
@pytest.mark.parametrize("call", ["get_into"])
def test_an_error_of_the_store_ends_a_restore(store, reopen, small_packs, disk, back_up, call, after):
    root = back_up(disk(CONTENT), reopen(store)).root
    faulty = FaultyStore(store)
    repository = reopen(faulty)
    faulty.fail(call, after=after, times=10**6, with_=StoreError("gone"))

    with pytest.raises(StoreError, match="gone"):
        restore(repository, root, disk(bytes(len(CONTENT))))


@pytest.mark.parametrize("after", [0, 1, 20])
def test_an_error_of_the_target_ends_a_restore(repository, disk, back_up, after):
    root = back_up(disk(CONTENT), repository).root
    target = disk(bytes(len(CONTENT)))
    target.write = later(after, target.write)

    with pytest.raises(Injected):
        restore(repository, root, target)


def test_an_error_while_flushing_the_target_is_no_success(repository, disk, back_up):
    root = back_up(disk(CONTENT), repository).root
    target = disk(bytes(len(CONTENT)))
    target.flush = raises

    with pytest.raises(Injected):
        restore(repository, root, target)


def test_the_word_to_stop_ends_a_restore(repository, disk, back_up, monkeypatch):
    monkeypatch.setattr(reading, "_CHECK_SECONDS", 0)
    root = back_up(disk(CONTENT), repository).root
    target = disk(bytes(len(CONTENT)))
    stand = threading.Event()
    target.write = lambda start, data: stand.wait(0.1)

    def check():
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        restore(repository, root, target, check=check)


def test_the_first_error_of_a_crew_is_raised_and_the_others_are_told_to_stop():
    crew = Crew()
    stopped = []

    def wait():
        stopped.append(crew.stop.wait(HANG))

    with pytest.raises(TransferError, match="first"):
        crew.run([wait, wait, lambda: (_ for _ in ()).throw(TransferError("first"))], lambda: None)
    crew.join()
    assert stopped == [True, True]


def test_even_the_end_of_the_interpreter_is_passed_on():
    crew = Crew()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crew.run([interrupt], lambda: None)
    crew.join()


def test_a_crew_without_work_is_done():
    Crew().run([], raises)


def test_nobody_waits_at_a_conveyor_for_ever():
    stop = threading.Event()
    full: Conveyor[int] = Conveyor(1, stop)
    empty: Conveyor[int] = Conveyor(1, stop)
    full.put(1)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(full.put(2))),
        threading.Thread(target=lambda: results.append(empty.take())),
    ]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(HANG)

    assert sorted(map(str, results)) == ["False", "None"]


def test_a_conveyor_delivers_what_was_put_before_its_end():
    conveyor: Conveyor[int] = Conveyor(5, threading.Event())
    for number in range(3):
        conveyor.put(number)
    conveyor.end()

    assert [conveyor.take() for _ in range(4)] == [0, 1, 2, None]


def test_an_error_is_raised_at_once_though_others_wait_for_what_it_lets_go():
    crew = Crew()
    let_go = threading.Event()

    with pytest.raises(Injected):
        crew.run([raises, lambda: let_go.wait(HANG)], lambda: None)

    assert crew.stop.is_set()
    assert not let_go.is_set()
    let_go.set()
    crew.join()


@pytest.fixture
def waiting(monkeypatch, repository, small_packs):
    """Another writer that stands still has announced all blocks. Return an event: a pack waits for it."""
    monkeypatch.setattr(writer, "PACK_SIZE", 10 * BLOCK)  # because only a pack that is mostly full is announced
    monkeypatch.setattr(otherwriters, "WORTHWHILE", 0)
    monkeypatch.setattr(otherwriters, "PATIENCE", HANG)
    monkeypatch.setattr(otherwriters, "LOOKS_EVERY", 0.002)
    monkeypatch.setattr(sink, "CHECKS_EVERY", 0.01)
    monkeypatch.setattr(storing, "_CHECK_SECONDS", 0)
    digest = repository.framer.digester.of
    digests = b"".join(digest(Kind.BLOCK, CONTENT[at : at + BLOCK]) for at in range(0, len(CONTENT), BLOCK))
    other = announcements.Announcements(repository.blobs, repository.framer)
    other._own = f"storing/{'0' * 16}/"  # it comes first, because the store's times are all the same
    other.announce(bytes(16), announcements.prefixes_of(digests))
    waits = threading.Event()
    wait = threading.Event.wait

    def noticed(event, seconds=None):
        if seconds == otherwriters.LOOKS_EVERY:
            waits.set()
        return wait(event, seconds)

    monkeypatch.setattr(threading.Event, "wait", noticed)
    return waits


@pytest.mark.parametrize(
    ("blocks", "every", "during"),
    [(60, 1 << 40, "the copy"), (60, 1, "a checkpoint"), (6, 1 << 40, "the end")],
    ids=["while workers wait for room", "at a checkpoint", "at the end"],
)
def test_a_cancel_ends_the_wait_for_another_writer(
    repository, disk, back_up, waiting, monkeypatch, caplog, blocks, every, during
):
    monkeypatch.setattr(storing, "_CHECKPOINT_BYTES", every)
    caplog.set_level("INFO")
    flush = BlockWriter.flush
    flushing = threading.Event()
    monkeypatch.setattr(BlockWriter, "flush", lambda self, *given: (flushing.set(), flush(self, *given)))

    def check():
        if waiting.is_set() and (during == "the copy" or flushing.is_set()):
            raise CancelledError("told to stop")

    with pytest.raises(CancelledError):
        back_up(disk(CONTENT[: blocks * BLOCK]), repository, piece_size=BLOCK, check=check)

    assert "did not store in time" not in caplog.text  # the wait did not run out


def test_a_cancel_of_a_copy_of_a_point_ends_the_wait_for_another_writer(
    repository, reopen, disk, back_up, waiting, monkeypatch, caplog
):
    monkeypatch.setattr(reading, "_CHECK_SECONDS", 0)
    caplog.set_level("INFO")
    other_store = MemoryStore()
    descriptor.create(other_store, repository.descriptor)
    source = reopen(other_store)
    root = back_up(disk(CONTENT), source, piece_size=BLOCK).root

    def check():
        if waiting.is_set():
            raise CancelledError("told to stop")

    with pytest.raises(CancelledError), repository.open_writer(run="copy") as out:
        MapCopy(source, repository, root).run(out, check=check)

    assert "did not store in time" not in caplog.text  # the wait did not run out
