"""The kit for tests is complete in itself: other projects run its example, and the engine needs no pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import HANG

ROOT = Path(__file__).parents[3]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing-kit.md").read_text(), re.DOTALL)


def test_the_example_of_the_page_runs_in_another_project(tmp_path):
    backend, settings, _server = EXAMPLES
    (tmp_path / "test_my_store.py").write_text(backend)
    (tmp_path / "conftest.py").write_text(settings)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20


def test_a_store_that_breaks_a_promise_fails_the_contract(tmp_path):
    """Both of two creators of one name are told that they won."""
    (tmp_path / "test_my_store.py").write_text(
        "import pytest\n"
        "from vmkeep.testing import MemoryStore\n"
        "from vmkeep.testing.blob_contract import BlobStoreContract\n"
        "class Overwriting(MemoryStore):\n"
        "    def put(self, key, data):\n"
        "        self.replace(key, data)\n"
        "        return True\n"
        "class TestOverwriting(BlobStoreContract):\n"
        "    @pytest.fixture\n"
        "    def store(self):\n"
        "        return Overwriting()\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "FAILED test_my_store.py::TestOverwriting::test_of_many_creators_of_one_key_exactly_one_wins" in done.stdout


def test_the_kit_needs_pytest_for_the_contract_only():
    code = "import sys; sys.modules['pytest'] = None; import vmkeep.testing, vmkeep.testing.servers"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG)
