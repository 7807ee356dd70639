"""Proofs of points: added, read, bounded, gone with the point; and the last ones of a VM stay."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import CHEAP, PASSPHRASE, opened, store_file
from vmkeep.blobs.wrappers import WrappingStore
from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository.notes import proofs
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import FaultyStore, MemoryStore

WHEN = datetime(2026, 5, 4, 3, 2, 1, 7, tzinfo=UTC)
BOOTED = PointProof(
    kind=ProofKind.BOOT, result=ProofResult.PASSED, at=WHEN, run="r1", by="jane", text="it shows a log-in prompt",
    details={"seconds": 11.5, "signs": ["login"], "screen": None},
)  # fmt: skip
PICTURE = b"\x89PNG" + bytes(range(256)) * 40


class PowerCut(BaseException):
    """The process dies here."""


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


def keys_of(repository):
    return [blob.key for blob in repository.blobs.list("proofs/")]


def test_a_proof_is_read_as_it_was_added_with_its_files(sealed):
    repository, ref = sealed

    added = repository.proofs.add(ref, BOOTED, {"screen.png": PICTURE})

    reader = opened(repository.blobs).proofs
    assert reader.of(ref) == (added,) == reader.all()[ref]
    assert replace(added, point="", id="", repository="", files={}) == BOOTED
    assert (added.point, added.repository) == (ref, repository.id)
    assert reader.file(added, "screen.png") == PICTURE
    assert [(name.kind, name.at, name.result) for name in reader.names()] == [("boot", WHEN, "passed")]


def test_an_encrypted_repository_shows_nothing_of_a_proof(sealed):
    repository, ref = sealed
    repository.proofs.add(ref, BOOTED, {"screen.png": PICTURE})

    stored = b"".join(repository.blobs.get(key) for key in keys_of(repository))

    assert (b"log-in prompt" in stored) is (PICTURE in stored) is (not repository.encrypted)


def test_the_newest_proofs_come_first_and_the_newest_few_of_each_result_stay(sealed):
    repository, ref = sealed
    failed = replace(BOOTED, result=ProofResult.FAILED)
    repository.proofs.add(ref, failed, {"screen.png": PICTURE})
    for days in range(1, 6):
        repository.proofs.add(ref, replace(BOOTED, at=WHEN + timedelta(days=days)), {"screen.png": PICTURE})

    kept = repository.proofs.of(ref)

    assert [(proof.at - WHEN).days for proof in kept] == [5, 4, 3, 0]
    assert [repository.proofs.file(proof, "screen.png") for proof in kept] == [PICTURE] * 4
    assert len(keys_of(repository)) == 2 * len(kept)


def test_proofs_go_with_their_point_and_the_last_proof_of_the_vm_stays(sealed):
    repository, ref = sealed
    repository.proofs.add(ref, BOOTED, {"screen.png": PICTURE})
    repository.proofs.add(ref, replace(BOOTED, kind=ProofKind.DIGESTS))

    repository.proofs.forget(ref)

    assert keys_of(repository) == []
    last = repository.proofs.latest()[ref.partition("/")[0]]
    assert {kind: (proof.point, proof.at, proof.vm_name) for kind, proof in last.items()} == {
        ProofKind.BOOT: (ref, WHEN, "web"),
        ProofKind.DIGESTS: (ref, WHEN, "web"),
    }


@pytest.mark.parametrize("result", list(ProofResult))
def test_a_proof_of_a_point_that_is_gone_is_refused_and_leaves_nothing(sealed, result):
    repository, ref = sealed

    with pytest.raises(NotFoundError, match="no restore point"):
        repository.proofs.add(ref[:-1] + "0", replace(BOOTED, result=result), {"screen.png": PICTURE})

    assert keys_of(repository) == []
    assert repository.proofs.latest() == {}


def test_only_a_check_that_passed_becomes_the_last_proof_of_the_vm_and_an_older_one_replaces_no_newer(sealed):
    repository, ref = sealed
    repository.proofs.add(ref, BOOTED)
    repository.proofs.add(ref, replace(BOOTED, result=ProofResult.FAILED, at=WHEN + timedelta(days=1)))
    repository.proofs.add(ref, replace(BOOTED, result=ProofResult.UNDECIDED, at=WHEN + timedelta(days=2)))
    repository.proofs.add(ref, replace(BOOTED, at=WHEN - timedelta(days=1)))

    ((last,),) = (proofs_of_vm.values() for proofs_of_vm in repository.proofs.latest().values())

    assert last.at == WHEN


@pytest.mark.parametrize("ends", [True, False])
def test_of_two_machines_that_note_a_proof_at_once_the_newer_one_stays_noted(sealed, ends):
    """The clock of the second one is behind, or its check began earlier, and it writes last.

    A proof of another kind, which is newer than both, hides neither.

    :param ends: the other one comes to its end, or dies once its proof is put.
    """
    repository, ref = sealed
    repository.proofs.add(ref, replace(BOOTED, kind=ProofKind.LVM, at=WHEN + timedelta(hours=2)))

    class Interrupted(WrappingStore):
        def replace(self, key, data):
            if key.startswith("recoveries/proofs/") and not meanwhile:
                meanwhile.append(key)
                with nullcontext() if ends else suppress(PowerCut):
                    opened(other).proofs.add(ref, replace(BOOTED, at=WHEN + timedelta(hours=1)))
            super().replace(key, data)

    meanwhile: list[str] = []
    other = FaultyStore(repository.blobs)
    if not ends:
        other.fail("replace", with_=PowerCut, prefix="recoveries/proofs/")

    opened(Interrupted(repository.blobs)).proofs.add(ref, BOOTED)

    last = repository.proofs.latest()[ref.partition("/")[0]]
    assert meanwhile
    assert {kind: proof.at - WHEN for kind, proof in last.items()} == {
        ProofKind.BOOT: timedelta(hours=1),
        ProofKind.LVM: timedelta(hours=2),
    }


def test_a_last_proof_from_the_future_silences_no_alarm(sealed, caplog):
    repository, ref = sealed
    repository.proofs.add(ref, replace(BOOTED, at=now() + timedelta(days=400)))
    assert repository.proofs.latest() == {}
    assert "in the future" in caplog.text

    repository.proofs.add(ref, BOOTED)

    ((last,),) = (proofs_of_vm.values() for proofs_of_vm in repository.proofs.latest().values())
    assert last.at == WHEN


def test_a_failure_that_cannot_be_read_still_counts(sealed):
    repository, ref = sealed
    failed = repository.proofs.add(ref, replace(BOOTED, result=ProofResult.FAILED))
    [key] = keys_of(repository)
    repository.blobs.replace(key, repository.blobs.get(key)[:-1] + b"?")

    [read] = repository.proofs.of(ref)

    assert (read.kind, read.result, read.at, read.point, read.id) == (
        failed.kind, failed.result, failed.at, ref, failed.id,
    )  # fmt: skip


def test_a_proof_that_cannot_be_read_counts_as_none_and_is_named(sealed, caplog):
    repository, ref = sealed
    repository.proofs.add(ref, BOOTED)
    good = repository.proofs.add(ref, replace(BOOTED, kind=ProofKind.LVM))
    for key in (*keys_of(repository)[:1], *(blob.key for blob in repository.blobs.list("recoveries/proofs/"))):
        if "boot" in key:
            repository.blobs.replace(key, repository.blobs.get(key)[:-1] + b"?")

    assert repository.proofs.of(ref) == (good,)
    assert list(repository.proofs.latest()[ref.partition("/")[0]]) == [ProofKind.LVM]
    assert sum("counts as none" in line for line in caplog.messages) == 2


def test_a_proof_or_a_file_of_another_point_is_not_taken_for_this_ones(make, point):
    repository = make()
    root, _ = store_file(repository, b"content", run="r")
    one, two = (repository.seal(point(root, id=identity * 16, run=identity)) for identity in "ab")
    proof = repository.proofs.add(one, BOOTED, {"screen.png": b"one", "other.png": b"two"})
    key = next(key for key in keys_of(repository) if key.count(",") == 3)
    wrong = key.replace("a" * 16, "b" * 16)
    content = repository.framer.unwrap(proofs.Kind.NOTE, repository.blobs.get(key), name=key)
    repository.blobs.put(wrong, repository.framer.wrap(proofs.Kind.NOTE, content, name=wrong))
    repository.blobs.replace(f"{key},screen.png", repository.blobs.get(f"{key},other.png"))

    assert repository.proofs.of(two) == ()
    with pytest.raises(CorruptError, match="another proof"):
        repository.proofs.file(proof, "screen.png")


def test_details_that_are_too_large_are_left_out_and_the_result_is_kept(sealed):
    repository, ref = sealed

    details = {"small": 1, "all": "x" * proofs.MAX_DETAILS, "half": "x" * (proofs.MAX_DETAILS // 2)}
    added = repository.proofs.add(ref, replace(BOOTED, details=details))

    assert repository.proofs.of(ref)[0].passed
    assert list(added.details) == ["small", "half", "left_out"]
    assert added.details["left_out"][0].startswith("all had 1.0 MiB")


def test_proofs_of_one_series_push_out_none_of_another(sealed):
    repository, ref = sealed
    failed = replace(BOOTED, result=ProofResult.FAILED)
    first = repository.proofs.add(ref, replace(failed, series="ClamAV"))
    for _ in range(2 * proofs.KEPT_PROOFS):
        repository.proofs.add(ref, replace(failed, series="YARA rules/"))
        repository.proofs.add(ref, failed)

    kept = repository.proofs.of(ref)
    assert first in kept
    assert Counter(proof.series for proof in kept) == {
        "ClamAV": 1,
        "YARA rules/": proofs.KEPT_PROOFS,
        "": proofs.KEPT_PROOFS,
    }


@pytest.mark.parametrize("name", ["", "../x", "A.png", "a,b", ".png", "x" * 80])
def test_a_file_whose_name_no_store_may_take_is_refused(sealed, name):
    repository, ref = sealed

    with pytest.raises(ValueError, match="not the name"):
        repository.proofs.add(ref, BOOTED, {name: b""})


def test_a_file_that_no_proof_has_is_not_found(sealed):
    repository, ref = sealed
    proof = repository.proofs.add(ref, BOOTED)

    with pytest.raises(NotFoundError, match=r"no file 'screen\.png'"):
        repository.proofs.file(proof, "screen.png")


def test_a_failure_by_a_clock_that_is_behind_counts_as_newer_than_the_success_before_it(sealed):
    repository, ref = sealed
    repository.proofs.add(ref, replace(BOOTED, at=now() + timedelta(days=1)))  # as a clock that is behind sees it

    failed = repository.proofs.add(ref, replace(BOOTED, at=now(), result=ProofResult.FAILED, text="no system"))
    passed = repository.proofs.add(ref, replace(BOOTED, at=now(), text="a success"))

    assert [proof.result for proof in repository.proofs.of(ref)] == ["failed", "passed", "passed"]
    assert "which is behind" in failed.text
    assert passed.text == "a success"


def test_a_failure_keeps_its_own_time_where_no_clock_is_behind_and_as_a_copy(sealed):
    repository, ref = sealed
    repository.proofs.add(ref, replace(BOOTED, at=now()))
    at = now()

    own = repository.proofs.add(ref, replace(BOOTED, at=at, result=ProofResult.FAILED))
    repository.proofs.add(ref, replace(BOOTED, at=at + timedelta(days=1)))
    copied = repository.proofs.add(ref, replace(BOOTED, at=at, result=ProofResult.FAILED, repository="source"))

    assert (own.at, copied.at) == (at, at)
