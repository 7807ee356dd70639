"""The place of an export is a folder or S3, and nothing else is taken for one of these."""

import pytest

from vmkeep.errors import UsageError
from vmkeep.flows.exports import ExportRequest, ImageFormat, export
from vmkeep.repository import create_repository


@pytest.mark.parametrize("out", ["s3:/exports", "sftp://host/exports", "file:///exports", "http://host/exports"])
def test_a_place_that_is_neither_is_refused_before_anything_is_read(tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repository = create_repository(str(tmp_path / "repository"))
    (tmp_path / "s3:" / "exports").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"go into a folder of this machine, or to s3://bucket/prefix"):
        export(
            repository,
            ExportRequest(point="latest:app01", format=ImageFormat.RAW, out=out),
            on_progress=lambda _disk: lambda _progress: None,
        )
