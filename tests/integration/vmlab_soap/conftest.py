"""One lab per test module, in a child process, and pyVmomi connections to it."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.labs import small_lab
from vmlab.testing import Lab


@pytest.fixture(scope="module")
def lab(unused_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with small_lab(unused_lab, tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_leftover_faults(lab: Lab) -> Iterator[None]:
    yield
    lab.clear()


@pytest.fixture
def connect(lab: Lab) -> Iterator[Callable[..., Any]]:
    open_connections = []

    def open_one(user: str | None = None) -> Any:
        context = ssl.create_default_context(cafile=lab.info["certificate"])
        instance = SmartConnect(
            host=lab.host, port=lab.port, user=user or lab.user, pwd=lab.password, sslContext=context
        )
        open_connections.append(instance)
        return instance

    yield open_one
    for instance in open_connections:
        Disconnect(instance)
        instance._stub.DropConnections()


@pytest.fixture
def anonymous(lab: Lab) -> Iterator[Any]:
    """The content of a vCenter nobody is logged in to. (A failed SmartConnect would leave its socket open.)"""
    context = ssl.create_default_context(cafile=lab.info["certificate"])
    stub = SoapStubAdapter(host=lab.host, port=lab.port, sslContext=context, version="vim.version.v8_0_3_0")
    yield vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    stub.DropConnections()


@pytest.fixture
def content(connect: Callable[..., Any]) -> Any:
    return connect().RetrieveContent()


@pytest.fixture
def vm_at(content: Any) -> Callable[[str], Any]:
    def find(path: str) -> Any:
        vm = content.searchIndex.FindByInventoryPath(f"Lab/vm/{path}")
        assert vm is not None, path
        return vm

    return find


@pytest.fixture
def run() -> Callable[[Any], Any]:
    def wait(task: Any) -> Any:
        WaitForTask(task)
        return task.info.result

    return wait
