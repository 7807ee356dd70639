"""Points come and go, have any name, and may be damaged: whoever walks them goes on with the others."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.catalog import open_catalog
from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError, StoreError
from vmkeep.flows.copy_values import CopyState
from vmkeep.flows.pointcopy import copy_points
from vmkeep.maintenance.facts import point_facts
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.model.point import VmIdentity
from vmkeep.repository import create_repository
from vmkeep.repository.points.pointnames import blob_of_ref, folder_of
from vmkeep.retention import RetentionRule
from vmkeep.testing import MemoryStore

LONG = "image-" + "a" * 145
"""A key that no folder can hold whole, as importing once made them."""


class Forgetful(MemoryStore):
    """A store in which another process removes some manifests after they are listed and before they are read."""

    def __init__(self):
        super().__init__()
        self.doomed: set[str] = set()

    def get(self, key):
        if key in self.doomed:
            super().delete(key)
        return super().get(key)


class Barred(MemoryStore):
    """A store that does not let us read some blobs."""

    def __init__(self):
        super().__init__()
        self.barred: set[str] = set()

    def get(self, key):
        if key in self.barred:
            raise StoreError(f"{key}: Permission denied") from PermissionError(13, "Permission denied")
        return super().get(key)


@pytest.fixture
def seal(point):
    """Seal a point of a VM, taken a number of minutes after the first."""

    def make(repository, vm, minutes=0, *, at=None):
        taken_at = at or point().taken_at + timedelta(minutes=minutes)
        made = point(
            vm=VmIdentity(name=f"name of {vm}", key=vm), taken_at=taken_at, run=f"{vm}/{taken_at}", id=f"{minutes:016}"
        )
        return repository.seal(made)

    return make


def damage(repository, ref):
    blob = blob_of_ref(ref)
    content = bytearray(repository.blobs.get(blob))
    content[-1] ^= 1
    repository.blobs.replace(blob, content)


@pytest.mark.parametrize("key", [LONG, "ü" * 60, "x" * 400, "%" * 100, "a~" * 80])
def test_points_of_a_vm_with_a_long_key_are_treated_like_any_other(repository, seal, tmp_path, key):
    refs = [seal(repository, "web"), seal(repository, key, 1), seal(repository, key, 2)]

    assert sorted(repository.point_refs()) == sorted(refs)
    assert list(repository.point_refs(key)) == refs[1:]
    assert [repository.load_point(ref).ref for ref in refs] == refs
    assert repository.find_point(f"latest:{key}").ref == repository.find_point("latest").ref == refs[2]
    assert repository.find_point(f"latest:name of {key}").ref == refs[2]
    repository.marks.pin(refs[1], reason="", by="me")
    assert set(repository.marks.all()) == set(repository.marks.all(key)) == {refs[1]}
    facts = {fact.ref: fact for fact in point_facts(repository, at=now())}
    assert set(facts) == set(refs)
    assert facts[refs[1]].pinned
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        assert catalog.refresh(repository).damaged == ()
        assert {entry.ref for entry in catalog.points(repository.id)} == set(refs)
        assert (catalog.refresh(repository).added, catalog.rebuild(repository).added) == (0, 3)
    rule = RetentionRule(keep_last=1)
    margins = Margins(young_for=timedelta(), condemned_for=timedelta())
    report = execute(repository, plan_prune(repository, rule, margins=margins, now=now()))
    assert report.points_forgotten == ()
    repository.marks.unpin(refs[1])
    report = execute(repository, plan_prune(repository, rule, margins=margins, now=now()))
    assert report.points_forgotten == (refs[1],)


def test_a_folder_with_a_cut_name_and_no_readable_manifest_is_listed_by_its_own_name(repository, seal):
    ref = seal(repository, LONG)
    damage(repository, ref)
    folder = blob_of_ref(ref).split("/")[1]

    (listed,) = repository.point_refs()

    assert listed == f"{folder}/{ref.rpartition('/')[2]}"
    assert blob_of_ref(listed) == blob_of_ref(ref)
    repository.marks.pin(listed, reason="", by="me")
    (fact,) = point_facts(repository, at=now())
    assert (fact.ref, fact.good, fact.pinned) == (listed, False, True)
    with pytest.raises(CorruptError, match="manifest is damaged"):
        repository.load_point(listed)


@given(key=st.text(min_size=1, max_size=400))
def test_the_folder_of_any_key_fits_every_store_and_is_its_own_name(key):
    folder = folder_of(key)
    MemoryStore().put(f"points/{folder}/20260504T030201Z-0", b"")
    assert len(folder) <= 150
    if "~" in folder:
        assert folder_of(folder) == folder


BAD = {
    "damaged": lambda repository, ref: damage(repository, ref),
    "empty": lambda repository, ref: repository.blobs.replace(blob_of_ref(ref), b""),
    "not to be read": lambda repository, ref: repository.blobs.barred.add(blob_of_ref(ref)),
}


@pytest.mark.parametrize("how", BAD)
def test_a_point_that_cannot_be_read_hides_no_other(make, seal, tmp_path, how):
    repository = make(Barred())
    bad, good, other = seal(repository, "web", 2), seal(repository, "web", 1), seal(repository, "db", 3)
    BAD[how](repository, bad)

    assert repository.find_point("latest:db").ref == repository.find_point("latest").ref == other
    assert repository.find_point(good).ref == good
    assert repository.keys_of_vm("name of web") == ["web"]
    assert repository.latest_refs("web")[0] == bad
    with pytest.raises(CorruptError, match=f"{bad}.*newest restore point of web: name another one, e.g. {good}"):
        repository.find_point("latest:name of web")
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        (told,) = catalog.refresh(repository).damaged
        assert told.startswith(f"{bad}: ")
        assert {entry.ref for entry in catalog.points(repository.id)} == {good, other}
    report = copy_points(repository, make(MemoryStore()), [bad, good, other])
    assert {point.ref: point.state for point in report.points} == {
        bad: CopyState.FAILED, good: CopyState.COPIED, other: CopyState.COPIED,
    }  # fmt: skip
    assert {fact.ref: fact.good for fact in point_facts(repository, at=now())} == {bad: False, good: True, other: True}
    assert len(repository.check()) == 1


@pytest.mark.parametrize(
    "name", ["web/notes.txt", "web/20260504T030201Z", "web/zzz-0", "web/99999999T999999Z-0", "stray", "a/b/c-d"]
)
def test_what_is_no_restore_point_among_them_hides_none(repository, make, seal, tmp_path, name):
    ref = seal(repository, "web")
    repository.blobs.put(f"points/{name}", b"mine")

    assert repository.find_point("latest").ref == repository.find_point("latest:web").ref == ref
    assert repository.latest_point("web").ref == ref
    assert [fact.ref for fact in point_facts(repository, at=now())] == [ref]
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        assert len(catalog.refresh(repository).damaged) == 1
        assert [entry.ref for entry in catalog.points(repository.id)] == [ref]
    report = copy_points(repository, make(MemoryStore()), list(repository.point_refs()))
    assert {point.state for point in report.points} == {CopyState.COPIED, CopyState.FAILED}


@pytest.mark.parametrize("name", ["foo bar", "20260504T030201Z-0 1", "x\ny", os.fsdecode(b"a\xff")])
def test_a_file_of_any_name_among_them_hides_none(tmp_path, point, seal, name):
    repository = create_repository(str(tmp_path / "repo"))
    ref = seal(repository, "web")
    (tmp_path / "repo" / "points" / "web" / name).write_bytes(b"mine")

    assert repository.find_point("latest:web").ref == ref
    assert [fact.ref for fact in point_facts(repository, at=now())] == [ref]
    assert len(repository.check()) == 1
    with pytest.raises(CorruptError, match="nothing is deleted"):
        plan_prune(repository, None, margins=Margins(), now=now())
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        assert len(catalog.refresh(repository).damaged) == 1
        assert [entry.ref for entry in catalog.points(repository.id)] == [ref]


def test_a_point_that_is_forgotten_while_others_look_is_left_out(make, seal, tmp_path):
    def remade():
        store = Forgetful()
        repository = make(store)
        refs = [seal(repository, "web", minutes) for minutes in range(3)]
        store.doomed = {blob_of_ref(refs[2])}
        return repository, refs

    repository, refs = remade()
    assert repository.find_point("latest:web").ref == refs[1]
    repository, refs = remade()
    assert repository.latest_point("web").ref == refs[1]
    repository, refs = remade()
    assert [point.ref for point in repository.points()] == refs[:2]
    repository, refs = remade()
    assert [fact.ref for fact in point_facts(repository, at=now())] == refs[:2]
    repository, refs = remade()
    with pytest.raises(NotFoundError, match="removed just now"):
        repository.find_point(refs[2].rpartition("-")[2])
    repository, refs = remade()
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        refreshed = catalog.refresh(repository)
        assert (refreshed.added, refreshed.total, refreshed.damaged) == (2, 2, ())
    repository, refs = remade()
    report = copy_points(repository, make(MemoryStore()), refs)
    assert {point.ref: point.state for point in report.points} == {
        refs[0]: CopyState.COPIED, refs[1]: CopyState.COPIED, refs[2]: CopyState.GONE,
    }  # fmt: skip


def test_a_copy_does_without_what_is_forgotten_in_the_target_meanwhile(make, seal):
    source, store = make(MemoryStore()), Forgetful()
    target = make(store)
    refs = [seal(source, "web", minutes) for minutes in range(2)]
    copy_points(source, target, refs[:1])
    store.doomed = {blob_of_ref(refs[0])}

    report = copy_points(source, target, refs)

    assert [point.state for point in report.points] == [CopyState.COPIED, CopyState.COPIED]


def test_the_newest_point_is_not_one_from_the_future_and_that_is_told(repository, seal, caplog):
    past, future = seal(repository, "web"), seal(repository, "web", 1, at=now() + timedelta(hours=2))

    assert repository.find_point("latest:web").ref == repository.latest_point("web").ref == past

    told = {record.getMessage() for record in caplog.records}
    taken_at = repository.load_point(future).taken_at
    assert any(future in line and f"{taken_at:%Y-%m-%d %H:%M:%S} UTC" in line for line in told)


def test_where_all_points_are_from_the_future_the_newest_of_them_is_taken(repository, seal, caplog):
    seal(repository, "web", 1, at=now() + timedelta(hours=1))
    newest = seal(repository, "web", 2, at=now() + timedelta(hours=2))

    assert repository.find_point("latest:web").ref == newest
    assert newest in caplog.text


def test_clocks_that_differ_a_little_make_no_future(repository, seal, caplog):
    newest = seal(repository, "web", 1, at=now() + timedelta(minutes=1))

    assert repository.latest_point("web").ref == newest
    assert not caplog.records


def test_who_names_a_point_by_its_time_is_told_where_its_id_stands(repository, seal):
    refs = [seal(repository, "web", minutes) for minutes in range(7)]
    stamp = refs[0].rpartition("/")[2].partition("-")[0]
    day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}"

    def told(text):
        with pytest.raises(NotFoundError) as refusal:
            repository.find_point(text)
        return str(refusal.value).partition("latest:VM")[2]

    about = ". A time names no point: its id stands behind the last '-' of its ref"
    for named in (day, day.replace("-", "")):
        assert told(named) == f"{about}. The points of that time: {', '.join(refs[:5])}, …"
    for named in (stamp, f"{stamp}-0", f"{day}{stamp[8:]}"):
        assert told(named) == f"{about}. The points of that time: {refs[0]}"
    assert told("19990101") == about
    for other in ("web01", "1999", "abc", "123456789"):
        assert told(other) == ""
