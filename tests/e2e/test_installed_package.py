"""``pip install vmkeep`` in an empty environment: the wheel holds everything, and works without Airflow."""

from __future__ import annotations

import email
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installing import ROOT, Environment, build_wheel, install

OPTIONAL = ("airflow", "boto3", "botocore", "celery", "great_expectations", "obstore", "pandas", "paramiko", "psycopg2")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f1e2d3c"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel) as opened:
        yield opened


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Environment:
    """An environment with vmkeep and no extra."""
    return install(wheel, tmp_path_factory.mktemp("bare") / "env")


@pytest.fixture(scope="module")
def encrypted(bare, tmp_path_factory) -> str:
    location = str(tmp_path_factory.mktemp("encrypted") / "repo")
    bare.well("vmkeep", "repo", "init", "--encrypt", "-r", location, VMKEEP_PASSPHRASE="correct horse battery")
    return location


def metadata(contents: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in contents.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(contents.read(name))


@pytest.mark.parametrize(
    ("source", "package"),
    [("include/vmkeep", "vmkeep"), ("include/vmlab", "vmlab"), ("plugins/vmkeep_airflow", "vmkeep_airflow"),
     ("dags", "vmkeep_airflow/dags"), ("include/policies", "vmkeep/policies"), ("include/dr", "vmkeep/dr")],
)  # fmt: skip
def test_the_wheel_holds_every_file_of_every_package(contents, source, package):
    folder = ROOT / source
    files = [
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert files
    assert {f"{package}/{file}" for file in files} <= set(contents.namelist())


def test_the_wheel_holds_nothing_else(contents):
    tops = {name.partition("/")[0] for name in contents.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vmkeep", "vmlab", "vmkeep_airflow"}


@pytest.mark.parametrize("package", ["vmkeep", "vmlab", "vmkeep_airflow"])
def test_every_package_tells_type_checkers_that_it_has_types(contents, package):
    assert f"{package}/py.typed" in contents.namelist()


def test_only_extras_need_airflow_or_a_library_of_one_kind_of_place(contents):
    needed = metadata(contents).get_all("Requires-Dist") or []
    base = [line.lower() for line in needed if "extra ==" not in line]
    for word in ("airflow", "boto", "celery", "expectations", "obstore", "pandas", "paramiko", "psycopg", "zig"):
        assert [line for line in base if word in line] == []


def test_what_is_needed_is_given_as_a_range(contents):
    assert [line for line in metadata(contents).get_all("Requires-Dist") or [] if "==" in line.partition(";")[0]] == []


def test_nothing_of_an_extra_is_in_a_bare_environment(bare):
    found = bare.well("python", "-c", f"from importlib.util import find_spec\nprint(*filter(find_spec, {OPTIONAL}))")
    assert found.split() == []


def test_a_disk_is_stored_and_read_back_in_a_bare_environment(bare, tmp_path):
    disk, copy, repository = tmp_path / "disk.raw", tmp_path / "copy.raw", str(tmp_path / "repo")
    disk.write_bytes(random.Random(1).randbytes(3 << 20))

    bare.well("vmkeep", "repo", "init", "-r", repository)
    bare.well("vmkeep", "image", "import", str(disk), "--name", "laptop", "-r", repository)
    (point,) = json.loads(bare.well("vmkeep", "point", "list", "-r", repository, "--json"))
    bare.well("vmkeep", "image", "export", "latest:laptop", str(copy), "-r", repository)
    bare.well("vmkeep", "repo", "check", "--read-data", "-r", repository)

    assert point["vm_name"] == "laptop"
    assert copy.read_bytes() == disk.read_bytes()


def test_the_command_tells_the_version_of_the_package(bare, contents):
    assert metadata(contents)["Version"] in bare.well("vmkeep", "--version")
    assert (
        bare.well("python", "-c", "import vmkeep; print(vmkeep.__version__)").strip() == metadata(contents)["Version"]
    )


def test_vsphere_and_vddk_need_no_extra(bare):
    modules = "vmkeep.vsphere.api, vmkeep.vddk, vmkeep.transfer, vmkeep.flows.backup, vmkeep.flows.restore"
    bare.well("python", "-c", f"import {modules}")
    bare.well("vmkeep", "vsphere", "role", "--json")


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("s3", ("repo", "init", "-r", "s3://bucket/prefix")),
        ("s3", ("point", "list", "-r", "s3://bucket/prefix")),
        ("ssh", ("repo", "init", "-r", "sftp://user@host/path")),
        ("ssh", ("repo", "check", "-r", "scp://user@host:path")),
    ],
)
def test_a_place_whose_extra_is_missing_says_what_to_install(bare, extra, arguments):
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = bare.run("vmkeep", *arguments, **keys)
    assert done.returncode == 3
    assert f"pip install 'vmkeep[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_of_kms_says_what_to_install(bare, encrypted):
    done = bare.run("vmkeep", "key", "add", "--kms", KEY, "-r", encrypted, VMKEEP_PASSPHRASE="correct horse battery")
    assert done.returncode == 3
    assert "pip install 'vmkeep[s3]'" in done.stderr


def test_a_catalog_on_postgresql_says_what_to_install(bare, tmp_path):
    repository = str(tmp_path / "repo")
    bare.well("vmkeep", "repo", "init", "-r", repository)
    catalog = {"VMKEEP_CATALOG": "postgresql+psycopg2://vmkeep@127.0.0.1:1/vmkeep"}
    done = bare.run("vmkeep", "catalog", "rebuild", "-r", repository, **catalog)
    assert done.returncode == 66
    assert "pip install 'vmkeep[postgres]'" in done.stderr


def test_a_lab_without_a_compiler_says_what_to_install(bare, tmp_path):
    done = bare.run("vmlab", "serve", "--dir", str(tmp_path / "lab"), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode != 0
    assert "pip install 'vmkeep[lab]'" in done.stderr
    assert "Traceback" not in done.stderr
