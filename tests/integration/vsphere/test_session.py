"""Sessions: log-in, expiry, keep-alive, lost connections, time-outs; and secrets that stay secret."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import AuthenticationError, TransientError, UnreachableError
from vmkeep.vsphere import inventory, snapshots
from vmkeep.vsphere.session import open_session
from vmlab.managed.site import Injection


def calls(lab, name):
    return lab.site.faults.calls[name]


def test_a_wrong_password_is_refused_without_being_shown(lab, reach):
    with (
        pytest.raises(AuthenticationError, match="user name or password was refused") as caught,
        open_session(reach(lab, lab.port, password="Tr0ub4dor")),
    ):
        pass

    assert "Tr0ub4dor" not in str(caught.value)
    assert "administrator@vsphere.local" in str(caught.value)


def test_a_session_says_what_it_talks_to(session, lab):
    assert session.is_vcenter
    assert session.version == "8.0.3"
    assert session.instance_uuid == lab.site.instance_uuid


def test_an_expired_session_is_logged_in_again_unnoticed(session, lab):
    before = inventory.list_vms(session)
    lab.site.sessions.close_all()

    assert inventory.list_vms(session) == before
    assert calls(lab, "Login") == 2


def test_many_threads_that_meet_an_expired_session_log_in_once(session, lab):
    failures: list[BaseException] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        try:
            for _ in range(3):
                inventory.find_vm(session, "web01")
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            failures.append(error)

    lab.site.sessions.close_all()
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert calls(lab, "Login") == 2


def test_a_password_that_was_changed_meanwhile_ends_in_one_refusal(session, lab):
    lab.site.sessions.close_all()
    lab.site.faults.add(Injection(method="Login", fault="InvalidLogin", count=99))

    with pytest.raises(AuthenticationError, match="was refused"):
        inventory.list_vms(session)

    assert calls(lab, "Login") == 2


def test_a_session_that_stays_refused_does_not_log_in_for_ever(session, lab):
    lab.site.faults.add(Injection(method="CreateContainerView", fault="NotAuthenticated", count=99))

    with pytest.raises(AuthenticationError, match="did not help"):
        inventory.list_vms(session)

    assert calls(lab, "Login") == 2


def test_a_session_that_is_not_used_is_kept_alive(lab, vcenter):
    with open_session(vcenter, keep_alive=0.02):
        eventually(lambda: calls(lab, "CurrentTime") >= 3)


def test_a_keep_alive_that_fails_is_left_to_the_next_real_call(lab, vcenter):
    lab.site.faults.add(Injection(method="CurrentTime", status=503, count=3))
    with open_session(vcenter, keep_alive=0.02) as session:
        eventually(lambda: calls(lab, "CurrentTime") >= 6)

        assert inventory.list_vms(session)


def test_the_end_of_a_session_logs_out(lab, vcenter):
    with open_session(vcenter):
        pass

    eventually(lambda: calls(lab, "Logout") == 1)
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "vsphere-keep-alive"])


def test_a_connection_cut_between_two_calls_goes_unnoticed(lab, reach, relay):
    with open_session(reach(lab, relay.port)) as session:
        before = inventory.list_vms(session)
        relay.drop()
        time.sleep(0.05)

        assert inventory.list_vms(session) == before


def test_a_question_whose_answer_was_lost_is_asked_once_more(session, lab):
    lab.site.faults.add(Injection(method="RetrievePropertiesEx", drop=True))

    assert inventory.find_vm(session, "web01").name == "web01"


def test_a_change_whose_answer_was_lost_is_not_sent_again(session, lab):
    vm = inventory.find_vm(session, "web01").moref
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", drop=True))

    with pytest.raises(TransientError, match="CreateSnapshot_Task: the connection failed"):
        snapshots.create(session, vm, run="lost", quiesce=False)

    assert calls(lab, "CreateSnapshot_Task") == 1


def test_a_call_that_hangs_ends_at_its_time_out(lab, vcenter):
    with open_session(vcenter) as session:
        lab.site.faults.add(Injection(method="CreateContainerView", delay=HANG))

        with session.patience(0.5), pytest.raises(UnreachableError, match="no answer in time"):
            inventory.list_vms(session)


def test_a_busy_server_is_told_as_such(session, lab):
    lab.site.faults.add(Injection(method="CreateContainerView", status=503))

    with pytest.raises(TransientError, match="503"):
        inventory.list_vms(session)


def test_neither_password_nor_cookie_is_ever_shown(lab, vcenter, caplog):
    caplog.set_level(logging.DEBUG)
    with open_session(vcenter) as session:
        cookie = session._stub.cookie.partition("=")[2].strip('"')
        lab.site.sessions.close_all()
        inventory.list_vms(session)
        shown = f"{session!r} {session._stub!r} {vcenter!r} {session.content!r}"

    client_log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("vmkeep"))
    assert len(cookie) > 10
    for text in (shown, client_log):
        assert vcenter.password not in text
        assert cookie not in text


def test_a_call_that_ends_after_the_session_leaves_no_connection_open(vcenter):
    with open_session(vcenter) as session:
        late = session._stub.GetConnection()

    session._stub.ReturnConnection(late)

    assert late.sock is None
