"""A name in a request means one part of a saved VM, or is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.unit.flows.test_matching import A, point
from vmkeep.errors import UsageError
from vmkeep.flows.restore_request import NewVmOptions
from vmkeep.flows.restore_saved import SavedVm, request_place
from vmkeep.vsphere.api import serialize, vim
from vmkeep.vsphere.cards import UNKNOWN
from vmkeep.vsphere.configspec import parse_config

SAMPLE = Path(__file__).parents[2] / "integration" / "vsphere" / "sample_config.xml"
NETWORK = "Virtual Machine Network"


def saved(label: str) -> SavedVm:
    """The sample's VM with a second card on the same network."""
    config = parse_config(SAMPLE.read_bytes())
    cards = [device for device in config.hardware.device if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    second = copy.deepcopy(cards[0])
    second.key, second.deviceInfo.label = 4001, label
    config.hardware.device.append(second)
    return SavedVm(point=point(A), config=serialize(config, "vim.version.version9").decode(), origin=UNKNOWN)


def options(*networks: str) -> NewVmOptions:
    return NewVmOptions(networks=networks)


def test_a_network_stands_for_all_cards_on_it():
    assert request_place(options(f"{NETWORK}=new"), saved("Network adapter 2")).networks == {NETWORK: "new"}


def test_a_name_that_is_one_cards_label_and_another_cards_network_is_refused():
    with pytest.raises(UsageError, match="a card has that label"):
        request_place(options(f"{NETWORK}=new"), saved(NETWORK))
