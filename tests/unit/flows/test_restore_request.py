"""An option of a restore arrives in the part of the request that it is about, or is refused. None is ignored."""

from __future__ import annotations

from dataclasses import fields

import click
import pytest

from vmkeep.cli.options import VSPHERE_NAMES
from vmkeep.cli.restore_run import run
from vmkeep.errors import UsageError
from vmkeep.flows.restore_request import (
    NewVmOptions,
    OnConflict,
    OverOptions,
    RestoreRequest,
    make_request,
)
from vmkeep.model.fieldwords import option_of
from vmkeep.model.overwrite import Undo
from vmkeep.model.transport import TransportMode

PARTS = {"over", "new_vm"}
NOT_ASKED = {"run", "owner", "drill", "scanned"}
"""Fields that a caller fills in, and no person."""
OF_THE_COMMAND = {*VSPHERE_NAMES, "repository", "passphrase_file", "limit_rate", "vddk", "as_json"}


def names(*kinds) -> set[str]:
    return {field.name for kind in kinds for field in fields(kind)} - PARTS


def test_fields_are_named_alone_and_found_in_their_part():
    request = make_request(
        point="p", run="r", vm="a", on_conflict="overwrite", undo="snapshot", host="esx", transports=["nbd"]
    )

    assert request == RestoreRequest(
        point="p",
        run="r",
        vm_selector="a",
        on_conflict=OnConflict.OVERWRITE,
        over=OverOptions(undo=Undo.SNAPSHOT),
        new_vm=NewVmOptions(host="esx"),
        transports=(TransportMode.NBD,),
    )


def test_a_field_that_no_part_has_is_refused_and_named():
    with pytest.raises(UsageError, match="no field netwroks"):
        make_request(point="p", run="r", netwroks=("a=b",))


def test_no_two_parts_have_a_field_of_one_name():
    assert len(names(RestoreRequest, OverOptions, NewVmOptions)) == sum(
        len(names(kind)) for kind in (RestoreRequest, OverOptions, NewVmOptions)
    )


def test_the_command_has_an_option_for_each_field_and_a_field_for_each_option():
    asked = {parameter.name: parameter.opts for parameter in run.params if isinstance(parameter, click.Option)}
    shown = {"vm_selector" if name == "vm" else name for name in asked.keys() - OF_THE_COMMAND}

    assert shown == names(RestoreRequest, OverOptions, NewVmOptions) - NOT_ASKED - {"point"}
    of_a_kind = names(OverOptions, NewVmOptions) - NOT_ASKED
    assert {name: option_of(name) for name in of_a_kind if option_of(name) not in asked[name]} == {}
