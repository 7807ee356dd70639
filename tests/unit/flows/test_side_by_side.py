"""Works side by side: none is lost, none goes on behind the back of a caller that was interrupted."""

from __future__ import annotations

import signal
import threading
from threading import Event

import pytest

from tests.patience import HANG
from vmkeep.flows.side_by_side import SideBySide
from vmkeep.flows.stopping import Stop


class TimeOut(BaseException):
    """The time-out of an Airflow task, which is no Exception either."""


def always(_result):
    return True


def test_an_error_that_nobody_expected_is_raised_when_the_other_works_have_ended():
    begun, failed, ended = Event(), Event(), []

    def work(thing):
        if thing == "bad":
            assert begun.wait(HANG)
            failed.set()
            raise OSError("no space")
        begun.set()
        assert failed.wait(HANG)
        ended.append(thing)

    with pytest.raises(OSError, match="no space"):
        SideBySide(["good", "bad"], work, go_on=always).run(2, Stop())

    assert ended == ["good"]


def test_no_work_begins_after_one_that_failed():
    done = []

    def work(thing):
        done.append(thing)
        raise OSError(thing)

    with pytest.raises(OSError, match="first"):
        SideBySide(["first", "second"], work, go_on=always).run(1, Stop())

    assert done == ["first"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeOut, SystemExit])
def test_whatever_interrupts_the_caller_stops_the_works_and_waits_for_their_end(raised):
    stop, ended = Stop(), []

    def interrupt(_number, _frame):
        raise raised

    def work(thing):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        while not stop.asked:
            Event().wait(0.01)
        ended.append(thing)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(raised):
            SideBySide(["one", "never begun"], work, go_on=always).run(1, stop)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert ended == ["one"]


def test_a_signal_handler_may_ask_to_stop_while_its_own_thread_registers_a_cancel():
    stop, cancelled = Stop(), Event()
    with stop._lock, stop.cancels(cancelled.set):
        stop.ask()

    assert cancelled.is_set()
