"""Row of the locks of a bucket: a look for hidden blobs, and the extension of the locks of needed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from bench.growth.stock import Counts, calls, new_disk
from vmkeep.blobs import LockMode, LockRule
from vmkeep.blobs.aws import AwsClient
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.flows import disk_images
from vmkeep.flows.upkeep import keep_locks
from vmkeep.maintenance.locks import find_hidden
from vmkeep.repository import Repository, create_repository, open_repository, point_id
from vmkeep.testing import servers


def locks(folder: Path, points: int) -> Counts:
    """All points have one disk in common, and nobody has hidden a blob. All locks are young."""
    rule = LockRule(mode=LockMode.COMPLIANCE, days=30)
    with (
        servers.moto_server(folder) as server,
        mock.patch.object(S3Versions, "_prove"),
    ):
        bucket = server.with_versions()
        aws, location = bucket.credentials, f"s3://{bucket.bucket}/repository"
        with create_repository(location, lock=rule, aws=aws) as repository:
            request = disk_images.ImportRequest(paths=(new_disk(folder),), name="pattern")
            pattern = disk_images.import_images(repository, request, on_progress=lambda _event: None).point
            for number in range(1, points):
                taken_at = pattern.taken_at - timedelta(hours=number)
                alike = replace(pattern, id=point_id(f"{number}", pattern.vm.key), run=f"{number}", taken_at=taken_at)
                repository.manifests.seal(alike)

        def asked(use: Callable[[Repository], object]) -> float:
            with open_repository(location, aws=aws) as opened, _counted() as told:
                use(opened)
                return calls(opened) + len(told)

        return {
            "calls of a look": asked(lambda opened: find_hidden(opened.blobs)),
            "calls of an extension": asked(keep_locks),
        }


@contextmanager
def _counted() -> Iterator[list[Any]]:
    """Count the requests of Amazon's own library, which no meter of a store sees."""
    told: list[Any] = []
    get = AwsClient.get

    def counting(self: AwsClient) -> Any:
        told.append(self)
        return get(self)

    with mock.patch.object(AwsClient, "get", counting):
        yield told
