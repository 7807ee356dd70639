"""A child process is waited for once, and the kernel's count of its CPU seconds is its own and nobody else's."""

import signal
import subprocess
import sys
import threading

import pytest

from vmkeep.transfer.waited_process import WaitedProcess

BUSY = "import time\nwhile time.process_time() < 0.1: pass"
BUSY_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-ISc', {BUSY!r}])"
WAITING = "import sys; sys.stdin.read()"


@pytest.fixture
def begin():
    begun = []

    def start(code: str) -> tuple[WaitedProcess, subprocess.Popen]:
        process = subprocess.Popen([sys.executable, "-ISc", code], stdin=subprocess.PIPE)
        begun.append(process)
        return WaitedProcess(process), process

    yield start
    for process in begun:
        process.stdin.close()
        process.kill()
        process.wait()


def test_each_of_two_processes_has_its_own_cpu_seconds(begin):
    (busy, _), (idle, other) = begin(BUSY), begin(WAITING)

    assert busy.wait(60)
    other.stdin.close()
    assert idle.wait(60)

    assert busy.cpu_seconds >= 0.1
    assert 0 < idle.cpu_seconds < busy.cpu_seconds


def test_the_children_that_a_process_has_waited_for_count_with_it(begin):
    busy, _ = begin(BUSY_CHILD)

    assert busy.wait(60)

    assert busy.cpu_seconds >= 0.1


def test_a_killed_process_has_cpu_seconds_and_names_its_signal(begin):
    waited, process = begin(WAITING)
    assert (waited.ended(), waited.cpu_seconds) == (False, None)
    assert not waited.wait(0)

    waited.kill()

    assert waited.wait(60)
    assert process.returncode == -signal.SIGKILL
    assert waited.cpu_seconds is not None
    waited.kill()  # nothing is left to kill


def test_threads_that_wait_for_one_process_all_see_its_end_and_one_count(begin):
    waited, process = begin(WAITING)
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.append((waited.wait(60), waited.cpu_seconds, process.returncode)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()

    process.stdin.close()
    for thread in threads:
        thread.join()

    assert seen == [(True, waited.cpu_seconds, 0)] * 8
    assert waited.cpu_seconds > 0


def test_a_process_whose_end_the_kernel_does_not_keep_is_gone_without_a_count(begin):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        waited, process = begin(WAITING)
        process.stdin.close()
        assert waited.wait(60)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert waited.cpu_seconds is None
