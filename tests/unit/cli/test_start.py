"""Each command starts at once: the program loads its page of nouns, and what a noun needs only with that noun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from itertools import product

import pytest
from click.exceptions import NoSuchCommand

from vmkeep.cli.main import cli
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import create_repository, point_id

HEAVY = {
    "asyncio", "cryptography", "hashlib", "http", "msgspec", "numpy", "obstore", "pyVmomi", "rich", "socket",
    "sqlalchemy", "sqlite3", "ssl", "subprocess", "tempfile", "tomllib", "vmkeep.blobs", "vmkeep.catalog",
    "vmkeep.flows", "vmkeep.maintenance", "vmkeep.model.job", "vmkeep.model.point", "vmkeep.policy",
    "vmkeep.repository", "vmkeep.transfer", "vmkeep.vsphere", "yaml", "zstandard",
}  # fmt: skip
"""Modules that take a hundredth of a second or more with all that they load, or that lead to such modules."""


@pytest.mark.parametrize(
    "run",
    ["", "cli(['--help'], standalone_mode=False)", "cli(['nonsense'], standalone_mode=False)"],
    ids=["the program", "its help", "a typing error"],
)
def test_what_no_noun_was_named_for_is_not_loaded(run):
    """By names and not by seconds, because seconds depend on the machine."""
    code = f"""
import sys
from vmkeep.cli.main import cli
try:
    {run or "pass"}
except Exception as error:
    from vmkeep.cli.failures import ending_of
    assert ending_of(error).exit_code == 2, error
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "vmkeep.cli.failures" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        ("backup run", {"numpy", "sqlalchemy", "vmkeep.catalog", "vmkeep.formats", "vmkeep.images"}),
        ("point files volumes", {"numpy", "sqlalchemy", "vmkeep.cli.point_files_get", "vmkeep.flows"}),
        ("point list", {"numpy", "pyVmomi", "sqlalchemy", "vmkeep.cli.point_apply", "vmkeep.vsphere"}),
        ("repo check", {"numpy", "sqlalchemy", "vmkeep.cli.repo_copy", "vmkeep.maintenance"}),
        ("restore run", {"numpy", "sqlalchemy", "vmkeep.cli.restore_disk"}),
        ("setup role", {"pyVmomi", "vmkeep.vsphere"}),
        ("target datastores", {"pyVmomi", "vmkeep.repository", "vmkeep.vsphere"}),
        ("vm list", {"numpy", "sqlalchemy", "vmkeep.cli.vm_sweep", "vmkeep.formats", "vmkeep.images"}),
        ("vm sweep", {"pyVmomi", "vmkeep.cli.vm_clean", "vmkeep.flows.sweep", "vmkeep.repository"}),
        ("vsphere role", {"pyVmomi", "vmkeep.vsphere"}),
    ],
)
def test_a_verb_does_not_load_what_only_its_neighbours_need(command, spared):
    code = f"""
import sys
from vmkeep.cli.main import cli
cli({[*command.split(), "--help"]}, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "vmkeep.cli.pages" in loaded
    assert not spared & loaded


def test_help_pages_and_completion_wait_for_no_library_of_vsphere_and_of_databases():
    """Their verbs load it when they are carried out, also those with a default or a choice that vSphere is asked by."""
    code = """
import sys
import click
from vmkeep.cli.main import cli

def load(group, path):
    for name in group.list_commands(None):
        told = f"{path} {name}".strip()
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            load(command, told)
        else:
            print(told)

load(cli, "")
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) > 90
    assert not {"numpy", "obstore", "pyVmomi", "rich", "sqlalchemy"} & set(done.stderr.split())


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        (
            "point list --repository R",
            {
                "vmkeep.catalog.checking", "vmkeep.catalog.evidence", "vmkeep.catalog.overview_tables",
                "vmkeep.catalog.questions", "sqlalchemy.dialects.postgresql", "pyVmomi", "rich",
            },
        ),
        (
            "repo merge --dry-run --repository R",
            {"sqlalchemy", "vmkeep.maintenance.healing", "vmkeep.maintenance.prune", "vmkeep.maintenance.repair"},
        ),
        ("repo stats --repository R", {"numpy", "sqlalchemy", "vmkeep.catalog", "vmkeep.maintenance", "_strptime"}),
        (
            "image import --repository R --name disk disk.raw",
            {"numpy", "sqlalchemy", "vmkeep.catalog", "vmkeep.images.exporting", "vmkeep.maintenance.prune"},
        ),
    ],
    ids=lambda told: told.partition(" -")[0] if isinstance(told, str) else "",
)  # fmt: skip
def test_a_command_that_does_its_work_does_not_load_what_only_others_need(command, spared, tmp_path):
    (tmp_path / "disk.raw").write_bytes(bytes(4096))
    code = f"""
import atexit, sys
from vmkeep.cli.start import start
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = {["vmkeep", *command.split()]}
start()
"""
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    for run in (
        "from vmkeep.cli.start import start; import sys; sys.argv = 'vmkeep repo init --repository R'.split(); start()",
        code,
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", run], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
    loaded = set(done.stderr.split())
    assert "vmkeep.repository.repository" in loaded
    assert not spared & loaded


def test_a_point_among_few_is_found_by_its_vms_name_without_loading_the_library_of_the_catalog(tmp_path):
    """Loading it takes as long as reading hundreds of manifests."""
    with create_repository(str(tmp_path / "R")) as repository:
        for number, day in product(range(4), range(4)):
            of, run = VmIdentity(name=f"vm{number}", key=f"key-{number}"), f"run-{day}"
            repository.manifests.seal(
                RestorePoint(
                    id=point_id(run, of.key), vm=of, taken_at=datetime(2026, 1, 1 + day, tzinfo=UTC), run=run,
                    mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
                    consistency=Consistency.CRASH, images=(),
                )
            )  # fmt: skip
    code = """
import atexit, sys
from vmkeep.cli.start import start
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["vmkeep", "point", "show", "latest:vm2", "--repository", "R", "--json"]
start()
"""
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert json.loads(done.stdout)["vm"]["key"] == "key-2"
    assert "sqlalchemy" not in done.stderr.split()


def test_a_command_looks_for_no_garbage_while_it_loads_nor_when_its_process_ends():
    """By numbers and not by seconds: the start makes no garbage, and what is frozen is not looked at again."""
    code = """
import atexit, gc, sys
looks = []
gc.callbacks.append(lambda phase, told: looks.append(told["generation"]) if phase == "stop" else None)
atexit.register(lambda: print(max(looks, default=0), len(gc.get_objects()), gc.get_freeze_count(), file=sys.stderr))
sys.argv = ["vmkeep", "vm", "list", "--help"]
from vmkeep.cli.start import start
start()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    eldest, looked_at, frozen = map(int, done.stderr.split())
    assert eldest < 2, "the collector looked through all objects"
    assert looked_at < frozen / 100


@pytest.mark.parametrize("asked", [None, "2"])
def test_numpy_starts_no_threads_in_a_command_unless_somebody_asks_for_them(asked):
    code = """
import os, sys
from vmkeep.cli.start import start
sys.argv = ["vmkeep", "--help"]
try:
    start()
except SystemExit:
    import numpy
    print(os.environ["OPENBLAS_NUM_THREADS"], len(os.listdir("/proc/self/task")), file=sys.stderr)
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if asked is None else {"OPENBLAS_NUM_THREADS": asked}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    threads, running = done.stderr.split()
    assert threads == (asked or "1")
    assert asked or running == "1"


def test_a_typing_error_in_a_verb_names_the_nearest_one_though_none_is_loaded():
    with pytest.raises(NoSuchCommand, match="'lst'") as refused:
        cli(["point", "lst"], standalone_mode=False)
    assert "list" in (refused.value.possibilities or [])


UNNEEDED = {
    "email", "http", "numpy", "ssl", "vmkeep.flows.point_doubts", "vmkeep.formats.qcow2", "vmkeep.formats.vmdk",
    "vmkeep.hypervisors", "vmkeep.images.pointexport", "vmkeep.maintenance", "vmkeep.qemu", "vmkeep.retention",
    "xml",
}  # fmt: skip


def test_what_only_exports_and_other_formats_need_is_not_loaded_to_import_a_raw_image():
    code = """
import sys
from vmkeep.flows import disk_images
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "vmkeep.transfer.storing" in loaded
    assert UNNEEDED & loaded == set()
