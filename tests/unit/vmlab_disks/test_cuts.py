"""Writers and consolidations that die in the middle."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmlab.disks import DiskStore, change_tracking, store

MIB = 1 << 20
BLOCK = 65536
BASE, CHILD, GRANDCHILD = "[ds] a.vmdk", "[ds] a-000001.vmdk", "[ds] a-000002.vmdk"

WRITER = """
import random, sys
from pathlib import Path
from vmlab.disks import DiskStore
choose = random.Random(int(sys.argv[2]))
with DiskStore(Path(sys.argv[1])).open("[ds] a-000001.vmdk", writable=True) as disk:
    print("up", flush=True)
    while True:
        length = choose.choice([512, 4096, 70000, 300000])
        disk.write(choose.randrange(disk.capacity - length), b"N" * length)
"""


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_writer_leaves_whole_bytes_and_no_change_untracked(tmp_path: Path, seed: int) -> None:
    disks = DiskStore(tmp_path)
    disks.create(BASE, 8 * MIB)
    disks.enable_tracking(BASE)
    with disks.open(BASE, writable=True) as disk:
        disk.write(0, b"O" * disk.capacity)
    since = disks.info(BASE).change_id or ""
    disks.create_child(BASE, CHILD)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), str(seed)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(0.02 + seed * 0.03)
        writer.kill()
    with disks.open(CHILD, writable=True) as disk:  # the lock died with its owner
        data = disk.read(0, disk.capacity)
    assert data.strip(b"ON") == b""
    changed = {at // BLOCK for at in range(0, len(data), BLOCK) if b"N" in data[at : at + BLOCK]}
    told = disks.changed_areas(CHILD, since, 0)
    assert changed <= {at // BLOCK for start, length in told for at in range(start, start + length, BLOCK)}
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(disks.path(CHILD)), str(tmp_path / "out")], check=True)
    assert (tmp_path / "out").read_bytes() == data


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die at the step-th of the five changes that a consolidation makes."""
    left = [step]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if left[0] == 0:
                raise PowerCut
            left[0] -= 1
            return original(*arguments)

        return call

    monkeypatch.setattr(store, "call", counted(store.call))
    monkeypatch.setattr(change_tracking, "take_over", counted(change_tracking.take_over))


@pytest.mark.parametrize("step", range(5))
def test_a_consolidation_cut_at_any_step_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    disks = DiskStore(tmp_path)
    choose = random.Random(step)
    disks.create(BASE, 2 * MIB)
    disks.enable_tracking(BASE)
    cursors = []
    for name, above in ((BASE, CHILD), (CHILD, GRANDCHILD), (GRANDCHILD, None)):
        with disks.open(name, writable=True) as disk:
            disk.write(choose.randrange(MIB), choose.randbytes(MIB // 2))
            image = disk.read(0, disk.capacity)
        cursors.append(disks.info(name).change_id or "")
        if above:
            disks.create_child(name, above)
    changed = disks.changed_areas(GRANDCHILD, cursors[0], 0)
    with monkeypatch.context() as patched:
        cut_at(patched, step)
        with pytest.raises(PowerCut):
            disks.consolidate(CHILD)
    assert disks.path(CHILD).exists()
    disks.consolidate(CHILD)
    with disks.open(GRANDCHILD) as disk:
        assert disk.links == 2
        assert disk.read(0, disk.capacity) == image
    assert disks.changed_areas(GRANDCHILD, cursors[0], 0) == changed
    assert disks.info(BASE).change_id == cursors[1]
