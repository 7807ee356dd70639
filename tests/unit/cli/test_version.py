"""``vmkeep --version``: what somebody needs to know who is to help."""

from __future__ import annotations

import json
import platform
from importlib import metadata

from click.testing import CliRunner

from vmkeep import __version__
from vmkeep.cli.main import cli
from vmkeep.repository.unlock.descriptor import FORMAT_VERSION


def run(*arguments, **environment):
    return CliRunner().invoke(cli, list(arguments), env={"VMKEEP_VDDK": ""} | environment)


def test_the_first_line_is_the_programs_own_version():
    assert run("--version").output.splitlines()[0] == f"vmkeep {__version__}"


def test_every_version_that_matters_is_told():
    found = json.loads(run("--version", "--json").output)

    assert found["python"] == platform.python_version()
    assert found["repository_format"] == FORMAT_VERSION
    assert found["libraries"] == {
        name: metadata.version(name) for name in ("pyvmomi", "zstandard", "blake3", "obstore")
    }
    assert found["vddk"] is None


def test_the_order_of_the_two_options_makes_no_difference():
    assert run("--version", "--json").output == run("--json", "--version").output


def test_vddks_version_is_told_where_its_folder_is_known(nineteen):
    assert f"VDDK 6.5.0 in {nineteen}" in run("--version", VMKEEP_VDDK=str(nineteen)).output


def test_a_wrong_folder_of_vddk_spoils_no_other_version(tmp_path):
    done = run("--version", VMKEEP_VDDK=str(tmp_path))

    assert done.exit_code == 0
    assert f"no VDDK at {tmp_path}" in done.output
    assert "repository format" in done.output


def test_json_before_a_noun_is_refused_with_its_place():
    assert "behind the verb" in str(run("--json", "config", "show").exception)
