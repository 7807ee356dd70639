"""One word for one thing: a DAG's field and the option of its command have the same name."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from airflow.dag_processing.dagbag import DagBag

from vmkeep.cli.main import cli

TWINS = {
    "vm_backup": ("backup", "run"),
    "vm_restore": ("restore", "run"),
    "disk_attach": ("restore", "disk"),
    "restore_undo": ("restore", "undo"),
    "restore_accept": ("restore", "accept"),
    "repository_maintenance": ("repo", "prune"),
    "repository_check": ("repo", "check"),
    "snapshot_sweep": ("vm", "sweep"),
    "host_config_backup": ("host", "backup"),
    "disaster_recovery": ("dr", "run"),
    "proxy_check": ("doctor",),
}
ONLY_IN_AIRFLOW = {
    "vsphere": "a connection, where the command has --vcenter, --user and the like",
    "guest": "a connection, where the command has --guest-user and --guest-password-file",
    "stop_at": "the end that a window sets; a command is interrupted",
    "proxy": "the queue and the pool of a host, where the command runs on its own",
    "as_shown": "the digest of a plan that another run has shown; the command carries out the very plan it shows",
    "days": "of repository_check, which chooses the slice of each day by it: --slice today/30",
}


def words(path: tuple[str, ...]) -> set[str]:
    """Option and argument names of a command, as a field would be called."""
    command: click.Command = cli
    for word in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    names = set[str]()
    for parameter in command.params:
        typed = [each.lstrip("-").replace("-", "_") for each in parameter.opts if each.startswith("--")]
        plural = [f"{each}s" for each in typed if parameter.multiple] if isinstance(parameter, click.Option) else []
        names.update((str(parameter.name), *typed, *plural))
    return names


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(Path(__file__).parents[2] / "dags"))


@pytest.mark.parametrize("dag_id", TWINS)
def test_every_field_of_a_dag_is_called_as_the_option_of_its_command(bag, dag_id):
    fields = set(bag.dags[dag_id].params) - ONLY_IN_AIRFLOW.keys()

    assert fields - words(TWINS[dag_id]) == set()
