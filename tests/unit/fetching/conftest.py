import pytest

from tests.unit.fetching.memoryfiles import MemoryFiles


@pytest.fixture
def files():
    return MemoryFiles()
