"""No step decides by the absence of a name in a list that comes as a login page, with the status 200."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fronts import Reply, Request, front
from tests.unit.maintenance.conftest import BLOCK, Vault, block, described, small_packs, write
from vmkeep.blobs.s3.s3access import S3Access, S3Location
from vmkeep.blobs.s3.s3store import S3BlobStore
from vmkeep.blobs.s3.uploads import S3Uploads
from vmkeep.catalog import open_catalog
from vmkeep.clock import Deadline
from vmkeep.errors import StoreError
from vmkeep.flows.failed_checks import failed_checks
from vmkeep.flows.pointcopy import choose_points
from vmkeep.flows.policy_copies import points_to_copy
from vmkeep.maintenance.locks import needed_packs
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.repository import create_repository
from vmkeep.repository.frames import pack_key
from vmkeep.repository.unlock import descriptor

__all__ = ["small_packs"]

LOGIN = b"<html><body>please log in</body></html>"
VM = "vm"


@dataclass
class Bench:
    """A repository behind a server that answers some lists with a login page."""

    vault: Vault
    hidden: set[str] = field(default_factory=set)
    """Words in the prefixes of these lists."""

    def open(self):
        """Open the repository as another process does, which has confirmed no list yet."""
        access = self.vault.store
        return self.vault.open(S3BlobStore(access._place, access._access))

    def keys(self, prefix):
        self.hidden.clear()
        return [blob.key for blob in self.vault.store.list(prefix)]


@pytest.fixture
def bench(moto_server) -> Iterator[Bench]:
    hidden: set[str] = set()

    def behave(request: Request, ask: Callable[[Request], Reply]) -> Reply:
        reply = ask(request)
        query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        if query.keys() & {"list-type", "versions"} and any(
            f"/{word}/" in f"/{query['prefix'][0]}/" for word in hidden
        ):
            return replace(reply, body=LOGIN)
        return reply

    with front(moto_server, behave) as server:
        place = S3Location(bucket=server.bucket, prefix=f"fronts/{uuid.uuid4()}")
        store = S3BlobStore(place, S3Access(place, server.credentials))
        descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
        bench = Bench(Vault(store), hidden)
        bench.vault.back_up([block(1), block(2)], vm=VM)
        yield bench


def test_a_point_is_not_sealed_if_the_sweep_that_took_its_blocks_is_missing_in_the_list(bench):
    repository = bench.open()
    with repository.at_work("run") as begun, repository.open_writer(run="run", begun=begun) as out:
        root = write(repository, out, [block(7)])
        out.flush()
        packs = bench.vault.packs
        records = bench.vault.open().sweep_records
        sweep = records.begin_sweep(packs)
        for pack in records.decide(sweep, packs):
            bench.vault.store.delete(pack_key(pack))
        before = bench.keys("points/")
        bench.hidden.add("sweeps")

        with pytest.raises(StoreError):
            repository.seal(described(root, "run", number=5, size=BLOCK), begun=begun)

        assert bench.keys("points/") == before


def test_no_segment_is_merged_if_the_list_of_sweeps_is_not_whole(bench):
    for number in range(3):
        bench.vault.back_up([block(20 + number)], vm=VM)
    repository = bench.open()
    plan = plan_merge(repository)
    assert len(plan.sources) > 1
    before = bench.keys("index/")
    bench.hidden.add("sweeps")

    with pytest.raises(StoreError):
        execute_merge(bench.open(), plan)

    assert bench.keys("index/") == before


def test_no_run_counts_as_dead_if_the_list_of_its_leases_is_not_whole(bench):
    area = bench.open().run("run")
    with area.open_lease("copy"):
        bench.hidden.add("leases")

        with pytest.raises(StoreError):
            bench.open().run("run").has_live_lease()
        with pytest.raises(StoreError):
            bench.open().run("run").await_copies(Deadline(0, waiting_for="the copies"))


def test_no_pin_is_confirmed_if_a_deletion_that_takes_the_point_is_missing_in_the_list(bench):
    (ref,) = bench.vault.held
    records = bench.vault.open().forgettings
    records.decide(records.begin([ref]), [ref])
    bench.hidden.add("forgettings")

    with pytest.raises(StoreError):
        bench.open().marks.pin(ref, reason="audit", by="jane")


def test_the_catalog_drops_no_point_by_a_list_that_is_not_whole(bench, tmp_path):
    with open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
        catalog.refresh(bench.open())
        bench.hidden.add("points")

        with pytest.raises(StoreError):
            catalog.refresh(bench.open())

        assert [entry.ref for entry in catalog.points(bench.open().id)] == [*bench.vault.held]


def test_no_repository_is_copied_as_if_it_had_no_points(bench, tmp_path):
    target = create_repository(str(tmp_path / "target"), block_size=BLOCK)
    bench.hidden.add("points")

    with pytest.raises(StoreError):
        choose_points(bench.open(), (), vm=None, latest=False)
    with pytest.raises(StoreError):
        points_to_copy(bench.open(), target, "gold")
    with pytest.raises(StoreError):
        points_to_copy(target, bench.open(), "gold")


@pytest.mark.parametrize("hidden", ["points", "packs", "index", "sealed", "marks", "damage"])
def test_a_check_finds_no_repository_whole_of_which_it_saw_only_a_part(bench, hidden):
    bench.hidden.add(hidden)

    with pytest.raises(StoreError):
        bench.open().check()


@pytest.mark.parametrize(
    ("hidden", "decide"),
    [
        ("points", lambda repository: repository.find_point(f"latest:{VM}")),
        ("points", lambda repository: repository.latest_point(VM)),
        ("points", lambda repository: repository.keys_of_vm(VM)),
        ("points", needed_packs),
        ("sealed", needed_packs),
        ("points", repair_points),
        ("packs", repair_index),
        ("points", failed_checks),
        ("proofs", failed_checks),
        ("run", lambda repository: repository.run("run").restart()),
    ],
)
def test_a_step_that_decides_by_what_is_in_no_list_fails_if_the_list_is_not_whole(bench, hidden, decide):
    """The newest point to restore, the locks that end, marks that are taken off, checks that a point has failed."""
    decide(bench.open())
    bench.hidden.add(hidden)

    with pytest.raises(StoreError):
        decide(bench.open())


@pytest.mark.parametrize("kind", ["versions", "objects"])
def test_a_page_that_is_no_list_is_no_empty_list_of_amazons_own_library_either(bench, kind):
    versions = bench.vault.store._versions
    bench.hidden.add("points")

    with pytest.raises(StoreError, match="is no list"):
        list(versions.list("points/") if kind == "versions" else versions.newest("points/"))


def test_no_export_is_begun_beside_another_one_that_is_missing_in_the_list(bench):
    access = bench.vault.store._access
    uploads = S3Uploads(access)
    uploads.put("exports/note", b"1", overwrite=False)
    bench.hidden.add("exports")

    with pytest.raises(StoreError, match="is no list"):
        list(uploads.list("exports/"))


@pytest.mark.parametrize(
    "asked",
    [
        lambda repository, _ref: repository.marks.all(),
        lambda repository, _ref: repository.marks.all(VM),
        lambda repository, _ref: repository.marks.of_vms([VM]),
        lambda repository, _ref: repository.proofs.all(),
        lambda repository, ref: repository.proofs.of(ref),
    ],
    ids=["all marks", "marks of a VM", "marks of VMs", "all proofs", "proofs of a point"],
)
def test_no_point_counts_as_good_whose_marks_or_proofs_are_missing_in_the_list(bench, asked):
    (ref,) = bench.vault.held
    bench.open().marks.suspect(ref, "disk", reason="a check found another disk")
    bench.hidden |= {"marks", "proofs"}

    with pytest.raises(StoreError):
        list(asked(bench.open(), ref))
