"""An answer that tells millions of changed areas takes some bytes for each, and no object."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapter

from vmkeep.model.extents import Extent, Extents
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.changes import ChangeAnswer, collect
from vmkeep.vsphere.packed_areas import areas_of, query_changed_areas

GAP = 1 << 20
PRODUCT = Path(__file__).parents[3] / "include/vmkeep"


def answer_of(count: int, type_of: str = "") -> bytes:
    """Return an answer of a server with that many areas, scattered."""
    areas = "".join(f"<changedArea><start>{at * GAP}</start><length>512</length></changedArea>" for at in range(count))
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f'<QueryChangedDiskAreasResponse xmlns="urn:vim25"><returnval{type_of}><startOffset>0</startOffset>'
        f"<length>{count * GAP}</length>{areas}</returnval></QueryChangedDiskAreasResponse></soapenv:Body>"
        "</soapenv:Envelope>"
    ).encode()


class Server(SoapStubAdapter):
    """A server that knows one answer, parsed by pyVmomi as any answer is."""

    def __init__(self, text: bytes) -> None:
        super().__init__(host="none", version="vim.version.version9")
        self.text = text

    def InvokeMethod(self, mo, info, args, **_outer):
        assert (info.wsdlName, args[1:]) == ("QueryChangedDiskAreas", [2000, 0, "52 aa/1"])
        return SoapResponseDeserializer(self).Deserialize(io.BytesIO(self.text), info.result)


def ask(text: bytes):
    stub = Server(text)
    return query_changed_areas(
        vim.VirtualMachine("vm-1", stub), vim.vm.Snapshot("snapshot-1", stub), 2000, 0, "52 aa/1"
    )


@pytest.mark.parametrize("type_of", ["", ' xsi:type="DiskChangeInfo"'])
def test_the_areas_of_an_answer_are_those_that_the_server_told(type_of):
    answer = ask(answer_of(3, type_of))
    assert (answer.startOffset, answer.length) == (0, 3 * GAP)
    assert list(areas_of(answer)) == [(0, 512), (GAP, 512), (2 * GAP, 512)]
    assert list(areas_of(ask(answer_of(0, type_of)))) == []


def test_a_later_call_of_others_gets_objects_as_ever():
    ask(answer_of(1))
    assert vim.VirtualMachine.QueryChangedDiskAreas.info.result is vim.VirtualMachine.DiskChangeInfo


def peak_of(count: int) -> int:
    text = answer_of(count)
    tracemalloc.start()
    try:
        answer = ask(text)
        found = collect(
            lambda at: ChangeAnswer(start=answer.startOffset, length=answer.length, areas=areas_of(answer)), count * GAP
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[-1] == Extent((count - 1) * GAP, (count - 1) * GAP + 512)
    assert isinstance(found, Extents)
    return peak


def test_an_area_takes_about_fifty_bytes_from_the_answer_to_the_extents_however_many_there_are():
    """Memory of 1.6 million areas is about 80 MiB then."""
    few, many = peak_of(500), peak_of(2500)
    assert (many - few) / 2000 < 64


def test_the_product_asks_for_changed_areas_in_no_other_way():
    calls = [
        path.name
        for path in sorted(Path("include/vmkeep").rglob("*.py"))
        if ".QueryChangedDiskAreas(" in path.read_text()
    ]
    assert calls == []
