"""The assets that other DAGs are scheduled on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import HANG
from vmkeep_airflow.assets import restore_points_by, restore_points_of


@pytest.mark.parametrize(
    ("vm", "name"),
    [
        ("app01", "vmkeep_restore_points/app01"),
        ("Büro 1", "vmkeep_restore_points/B%C3%BCro%201"),
        ("s3://x", "vmkeep_restore_points/s3%3A%2F%2Fx"),
        ("a/b", "vmkeep_restore_points/a%2Fb"),
    ],
)
def test_every_vm_has_an_asset_whose_name_any_database_takes(vm, name):
    asset = restore_points_of(vm)
    assert (asset.name, asset.uri) == (name, name)


def test_no_vm_is_called_like_the_asset_of_a_policy():
    assert restore_points_by("nightly").name == "vmkeep_policy_points/nightly"
    assert not restore_points_of("nightly").name.startswith("vmkeep_policy_points/")


def test_reading_a_file_that_names_an_asset_imports_no_provider():
    probe = (
        "import sys, vmkeep_airflow.assets as assets\n"
        "assets.restore_points_of('x')\n"
        "print([name for name in sys.modules if name in ('boto3', 'airflow.providers.amazon.aws')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=HANG)
    assert done.stdout.strip().splitlines()[-1] == "[]"
