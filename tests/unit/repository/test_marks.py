"""Pins and damaged marks: set, read, taken off; and never lost to a damaged blob."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import CHEAP, PASSPHRASE, opened, store_file
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.model.extents import Extent
from vmkeep.repository import Lost
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import FaultyStore, MemoryStore

WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(params=["plain", "encrypted"])
def sealed(request, make, point, monkeypatch):
    """A repository with one sealed point, and the point's ref."""
    store = MemoryStore()
    if request.param == "encrypted":
        monkeypatch.setattr(slots, "COST", CHEAP)
        made = descriptor.new_descriptor(block_size=65536, compression="zstd")
        repository = create_encrypted_in(store, made, passphrase=PASSPHRASE).repository
    else:
        repository = make(store)
    root, _ = store_file(repository, b"content" * 100_000, run="r")
    return repository, repository.seal(point(root))


def test_a_pin_holds_until_it_is_taken_off(sealed):
    repository, ref = sealed

    repository.marks.pin(ref, reason="court order 7", by="jane")

    pin = opened(repository.blobs).marks.pin_of(ref)
    assert (pin.reason, pin.by, pin.until) == ("court order 7", "jane", None)
    assert repository.marks.is_pinned(ref, at=now() + timedelta(days=10_000))
    assert repository.marks.unpin(ref) is True
    assert repository.marks.unpin(ref) is False
    assert not repository.marks.is_pinned(ref, at=now())


def test_a_pin_with_an_end_holds_up_to_it_and_is_still_shown(sealed):
    repository, ref = sealed
    end = now() + timedelta(days=30)

    repository.marks.pin(ref, reason="audit", by="jane", until=end)

    assert repository.marks.is_pinned(ref, at=end - timedelta(microseconds=1))
    assert not repository.marks.is_pinned(ref, at=end)
    assert repository.marks.pin_of(ref).until == end


def test_a_pin_that_would_be_over_already_is_refused(sealed):
    repository, ref = sealed

    with pytest.raises(UsageError, match="over already"):
        repository.marks.pin(ref, reason="", by="", until=WHEN)

    assert repository.marks.pin_of(ref) is None


def test_a_pin_set_twice_is_the_one_set_last(sealed):
    repository, ref = sealed
    repository.marks.pin(ref, reason="one", by="jane", until=now() + timedelta(days=1))

    repository.marks.pin(ref, reason="two", by="joe")

    assert repository.marks.pin_of(ref).reason == "two"
    assert repository.marks.pin_of(ref).until is None


def test_damage_says_what_is_lost_and_can_be_taken_back(sealed):
    repository, ref = sealed
    lost = (Lost(name="Hard disk 1", extents=(Extent(0, 65536), Extent(1 << 40, (1 << 40) + 1))), Lost(name="vm.vmx"))

    repository.marks.mark_damaged(ref, lost)

    assert opened(repository.blobs).marks.damage_of(ref).lost == lost
    assert repository.marks.clear_damaged(ref) is True
    assert repository.marks.clear_damaged(ref) is False
    assert repository.marks.damage_of(ref) is None


@pytest.mark.parametrize("missing", ["5021-ab/20260504T030201Z-ffffffffffffffff", "nobody/20260504T030201Z-0"])
def test_a_point_that_is_not_there_cannot_be_marked(sealed, missing):
    repository, _ = sealed

    with pytest.raises(NotFoundError, match="no restore point"):
        repository.marks.pin(missing, reason="", by="")
    with pytest.raises(NotFoundError, match="no restore point"):
        repository.marks.mark_damaged(missing, ())

    assert not repository.marks.all()


def test_who_pins_a_point_while_it_is_deleted_is_told_and_leaves_no_mark(sealed):
    repository, ref = sealed

    class Deleting(FaultyStore):
        def replace(self, key, data):
            super().replace(key, data)
            self.inner.delete(f"points/{ref}")

    meanwhile = opened(Deleting(repository.blobs))

    with pytest.raises(NotFoundError):
        meanwhile.marks.pin(ref, reason="too late", by="jane")

    assert not list(repository.blobs.list("marks/"))


@pytest.mark.parametrize("harm", [lambda blob: blob[:-1], lambda blob: b"", lambda blob: blob[:-9] + b"\0" + blob[-8:]])
def test_a_pin_whose_blob_is_damaged_counts_as_pinned_and_a_damaged_mark_as_damage(sealed, harm):
    repository, ref = sealed
    repository.marks.pin(ref, reason="court", by="jane", until=now() + timedelta(days=1))
    repository.marks.mark_damaged(ref, ())
    for blob in list(repository.blobs.list("marks/")):
        repository.blobs.replace(blob.key, harm(repository.blobs.get(blob.key)))

    marks = repository.marks.all()[ref]

    assert marks.pin.holds(now() + timedelta(days=10_000))
    assert marks.pin.since is None
    assert "cannot be read" in marks.pin.reason
    assert marks.damage.lost == ()
    assert repository.marks.is_pinned(ref, at=now())


def test_marks_of_another_point_prove_nothing_but_that_there_are_marks(sealed, point):
    repository, ref = sealed
    other = repository.seal(point(id="fedcba9876543210", run="run/2"))
    repository.marks.pin(other, reason="the other's", by="jane", until=now() + timedelta(days=1))
    repository.blobs.put(f"marks/{ref}/pin", repository.blobs.get(f"marks/{other}/pin"))

    assert repository.marks.pin_of(ref).until is None
    assert "cannot be read" in repository.marks.pin_of(ref).reason


def test_all_marks_are_listed_by_point_also_those_of_points_that_are_gone(sealed, point):
    repository, ref = sealed
    odd = point(id="aa", run="run/2", vm=point().vm.__class__(name="ü", key="image-ü /~."))
    other = repository.seal(odd)
    repository.marks.pin(ref, reason="r", by="b")
    repository.marks.mark_damaged(other, ())
    repository.blobs.delete(f"points/{ref}")

    assert set(repository.marks.all()) == {ref, other}
    assert set(repository.marks.all("image-ü /~.")) == {other}
    assert repository.marks.all("5021-ab")[ref].pin.reason == "r"

    repository.marks.forget(ref)
    assert set(repository.marks.all()) == {other}


@pytest.mark.parametrize(
    "foreign", ["Thumbs.db", "a/Thumbs.db", "a/b/pin", "a/20260504T030201Z-0a/notes.txt", "/-/pin"]
)
def test_what_others_put_beside_the_marks_hides_none(sealed, foreign):
    repository, ref = sealed
    repository.marks.pin(ref, reason="r", by="b")
    key = f"marks/{foreign.lstrip('/')}"
    repository.blobs.put(key, b"hi")

    assert set(repository.marks.all()) == {ref}
    assert repository.blobs.get(key) == b"hi"


def test_a_suspicion_names_each_disk_once_and_goes_with_the_point(sealed):
    repository, ref = sealed

    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied")
    repository.marks.suspect(ref, "Hard disk 2", reason="tracking lied")
    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied again")

    found = opened(repository.blobs).marks.suspicion_of(ref)
    assert (found.disks, found.reason) == (("Hard disk 1", "Hard disk 2"), "tracking lied again")
    assert repository.marks.all()[ref].suspicion == found
    repository.marks.forget(ref)
    assert not list(repository.blobs.list("marks/"))


def test_a_suspicion_that_cannot_be_read_is_one_about_every_disk_and_stays_so(sealed):
    repository, ref = sealed
    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied")
    (blob,) = repository.blobs.list("marks/")
    repository.blobs.replace(blob.key, b"nonsense")

    assert repository.marks.suspicion_of(ref).disks == ()
    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied")
    assert repository.marks.suspicion_of(ref).disks == ()


def test_a_suspicion_is_taken_off_with_a_reason_that_stays(sealed):
    repository, ref = sealed
    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied")

    repository.marks.trust(ref, reason="compared with the guest", by="jane")

    marks = opened(repository.blobs).marks.of(ref)
    assert marks.good
    assert (marks.trust.reason, marks.trust.by, marks.trust.disks) == (
        "compared with the guest",
        "jane",
        ("Hard disk 1",),
    )
    assert repository.marks.trust(ref, reason="again", by="jane") is None
    repository.marks.suspect(ref, "Hard disk 1", reason="tracking lied again")
    assert not repository.marks.of(ref).good
    repository.marks.forget(ref)
    assert not list(repository.blobs.list("marks/"))


@pytest.fixture
def copied(make, point):
    """Two repositories with the same point: their marks, and its ref."""
    marks = []
    for _ in range(2):
        repository = make(MemoryStore())
        root, _ = store_file(repository, b"content", run="r")
        ref = repository.seal(point(root))
        marks.append(repository.marks)
    return *marks, ref


def test_a_copy_takes_the_suspicion_over_and_its_end_too(copied):
    here, there, ref = copied
    here.suspect(ref, "Hard disk 1", reason="tracking lied")
    there.suspect(ref, "Hard disk 2", reason="tracking lied there")

    there.take_over(ref, here.of(ref))
    assert there.suspicion_of(ref).disks == ("Hard disk 2", "Hard disk 1")

    here.trust(ref, reason="compared", by="jane")
    there.take_over(ref, here.of(ref))
    assert there.of(ref).good
    assert there.trust_of(ref) == here.trust_of(ref)


def test_a_suspicion_that_was_taken_off_at_the_copy_stays_off_until_a_later_one(copied):
    here, there, ref = copied
    here.suspect(ref, "Hard disk 1", reason="tracking lied")
    there.take_over(ref, here.of(ref))
    there.trust(ref, reason="compared", by="jane")

    there.take_over(ref, here.of(ref))
    assert there.of(ref).good

    here.suspect(ref, "Hard disk 1", reason="tracking lied again")
    there.take_over(ref, here.of(ref))
    assert there.suspicion_of(ref).reason == "tracking lied again"


def test_a_pin_and_damage_stay_with_their_repository(copied):
    here, there, ref = copied
    here.pin(ref, reason="court", by="jane")
    here.mark_damaged(ref, ())

    there.take_over(ref, here.of(ref))

    assert there.all() == {}


def test_no_point_that_is_not_there_is_suspect(sealed):
    repository, _ = sealed

    with pytest.raises(NotFoundError):
        repository.marks.suspect("vm/20260101T000000Z-0000000000000000", "Hard disk 1", reason="why")
