"""A repository in memory whose points have no disks, for tests that are about proofs and policies alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository import Repository, open_in
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def new_repository() -> Repository:
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=1 << 16, compression="lz4"))
    return open_in(store)


def seal(
    repository: Repository, vm: str, *, day: int = 0, policy: str | None = "nightly", moref: str | None = None
) -> str:
    return repository.seal(
        RestorePoint(
            id=f"{day:016x}", vm=VmIdentity(name=f"name of {vm}", key=vm, moref=moref),
            taken_at=WHEN + timedelta(days=day),
            run=f"{vm}-{day}", mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
            consistency=Consistency.CRASH, images=(), policy=policy,
        )
    )  # fmt: skip


def prove(
    repository: Repository, ref: str, kind: ProofKind, result: ProofResult, *, at: datetime, run: str = ""
) -> None:
    repository.proofs.add(ref, PointProof(kind=kind, result=result, at=at, run=run))
