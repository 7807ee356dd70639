"""Many clients at once: snapshots come and go, guests write, properties are read, and no byte is lost."""

import threading

from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.patience import HANG

PATHS = ("Production/app01", "Production/web01", "Production/db01")
NAMES = [path.rpartition("/")[2] for path in PATHS]
STEP, SIZE, WRITES = 100_000, 5000, 40


def take_and_remove_snapshots(content, path):
    vm = content.searchIndex.FindByInventoryPath(f"Lab/vm/{path}")
    WaitForTask(vm.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    for number in range(6):
        WaitForTask(vm.CreateSnapshot(f"n{number}", "", False, False))
        if number % 2:
            WaitForTask(vm.RemoveAllSnapshots())


def write_as_guest(lab, name):
    for number in range(WRITES):
        lab.write(name, 0, [{"offset": number * STEP, "length": SIZE, "seed": number}])
        assert lab.read(name, 0, number * STEP, SIZE) != bytes(SIZE)


def read_until(stop, content):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    while not stop.is_set():
        for vm in view.view:
            assert vm.summary.config.name


class Crowd:
    """Threads whose errors are kept."""

    def __init__(self):
        self.failures = []

    def thread(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001  (whatever it is, the test has to show it)
                self.failures.append(f"{work.__name__}: {error!r}"[:300])

        return threading.Thread(target=run)


def test_snapshots_guests_and_readers_do_not_disturb_each_other(lab, connect):
    crowd, stop = Crowd(), threading.Event()
    reader = crowd.thread(read_until, stop, connect("readonly@vsphere.local").content)
    workers = [crowd.thread(take_and_remove_snapshots, connect().content, path) for path in PATHS]
    workers += [crowd.thread(write_as_guest, lab, name) for name in NAMES]
    for thread in [reader, *workers]:
        thread.start()
    for thread in workers:
        thread.join(HANG)
    stop.set()
    reader.join(HANG)
    assert crowd.failures == []
    for name in NAMES:
        state = lab.vm(name)
        assert (state["snapshots"], state["consolidation_needed"]) == ([], False)
        assert {len(disk["chain"]) for disk in state["disks"]} == {1}
    for number in range(WRITES):
        assert len({lab.hash(name, 0, number * STEP, SIZE) for name in NAMES}) == 1
