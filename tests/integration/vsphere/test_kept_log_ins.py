"""Log-ins that several sessions share, one after the other: few of them, for the same login and server only."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.patience import eventually
from vmkeep.errors import AuthenticationError, CertificateError, StaleError
from vmkeep.vsphere import automation, inventory, tickets
from vmkeep.vsphere.automation import open_automation
from vmkeep.vsphere.onelogin import one_session
from vmkeep.vsphere.privileges import missing_privileges
from vmkeep.vsphere.session import open_session
from vmlab.api import vim, vmodl
from vmlab.managed.properties import retrieving


def calls(lab, name):
    return lab.site.faults.calls[name]


@pytest.fixture
def kept():
    with tickets.log_ins_kept():
        yield tickets._shared


@pytest.fixture
def sessions(lab):
    """The sessions that are left over."""
    lab.site.sessions.close_all()
    return lab.site.sessions.all


def test_all_steps_of_one_body_log_in_once_and_out_at_its_end(lab, vcenter, sessions):
    with one_session(vcenter):
        for _ in range(3):
            with open_session(vcenter) as session:
                assert inventory.list_vms(session)
                assert missing_privileges(session, session.content.rootFolder, ["Sessions.ValidateSession"]) == ()

    assert [calls(lab, name) for name in ("RetrieveServiceContent", "Login", "Logout")] == [1, 1, 1]
    assert sessions() == []


def test_a_body_that_fails_logs_out_too(vcenter, sessions):
    with pytest.raises(ZeroDivisionError), one_session(vcenter), open_session(vcenter):
        raise ZeroDivisionError

    assert sessions() == []


def test_bodies_that_overlap_share_one_session_and_the_last_one_ends_it(lab, vcenter, sessions):
    with ExitStack() as first, ExitStack() as second:
        for stack in (first, second):
            stack.enter_context(one_session(vcenter))
            with open_session(vcenter):
                pass
        first.close()
        with open_session(vcenter) as session:
            assert inventory.list_vms(session)
        assert len(sessions()) == 1

    assert [calls(lab, name) for name in ("Login", "Logout")] == [1, 1]
    assert sessions() == []


@pytest.mark.usefixtures("kept")
def test_a_kept_session_that_has_ended_is_replaced_once(lab, vcenter):
    with open_session(vcenter):
        lab.site.sessions.close_all()
    for _ in range(2):
        with open_session(vcenter) as session:
            assert inventory.list_vms(session)

    assert calls(lab, "Login") == 2


@pytest.mark.usefixtures("kept")
def test_of_two_log_ins_at_once_one_is_kept_and_the_other_ends(vcenter, sessions, kept):
    with open_session(vcenter):
        ours = kept.load(vcenter)
        kept._memory._map[:32] = bytes(32)  # as if the other process had looked before this one logged in
        with open_session(vcenter):
            kept.store(vcenter, ours)

    assert [session.info.key for session in sessions()] == [ours.session_key]


@pytest.mark.usefixtures("kept")
def test_another_password_goes_on_with_no_session(lab, reach, vcenter):
    with open_session(vcenter):
        pass

    with pytest.raises(AuthenticationError), open_session(reach(lab, lab.port, password="guess")):
        pass


@pytest.mark.usefixtures("kept")
def test_the_cookie_goes_to_no_server_with_another_certificate(lab, reach, relay, impostor):
    here = reach(lab, relay.port)
    with open_session(here):
        pass
    relay.target = impostor.port

    with pytest.raises(CertificateError), open_session(here):
        pass

    assert impostor.heard_in(1) == b""


@pytest.mark.usefixtures("kept")
def test_a_server_that_is_another_one_by_now_gets_no_password(lab, vcenter, monkeypatch):
    with open_session(vcenter):
        lab.site.sessions.close_all()
    monkeypatch.setattr(lab.site, "instance_uuid", "00000000-0000-0000-0000-000000000000")

    with pytest.raises(StaleError, match="another server by now"), open_session(vcenter) as session:
        inventory.list_vms(session)

    assert calls(lab, "Login") == 1
    with open_session(vcenter) as session:  # the next step begins anew
        assert inventory.list_vms(session)


@pytest.mark.usefixtures("kept")
def test_a_session_that_several_steps_work_with_is_ended_by_none_of_them(lab, vcenter, kept):
    with open_session(vcenter):
        ours = kept.load(vcenter)
    with open_session(vcenter) as first, open_session(vcenter) as second:
        kept.forget(vcenter)
        with open_session(vcenter):  # as after a lapse: it logs in, and its session is kept
            assert kept.load(vcenter) != ours
        first.close()
        assert inventory.list_vms(second)

    assert [calls(lab, name) for name in ("Login", "Logout")] == [2, 0]


@pytest.mark.usefixtures("kept")
def test_a_session_does_not_lapse_while_a_step_works_with_it(vcenter, kept):
    with open_session(vcenter, keep_alive=0.01):
        ours = kept.load(vcenter)
        kept.forget(vcenter)  # as after a lapse
        assert eventually(lambda: kept.load(vcenter)) == ours


def test_properties_that_are_missing_for_want_of_a_log_in_are_asked_for_again(lab, session, monkeypatch):
    """A vCenter answers some reads of an ended session so, and not by a fault."""
    before = inventory.list_vms(session)
    answers = iter([True])

    def retrieve(*arguments):
        found = retrieving_now(*arguments)
        if next(answers, False):
            for content in found:
                content.missingSet = [
                    vmodl.query.PropertyCollector.MissingProperty(
                        path=item.name, fault=vim.fault.NotAuthenticated(object=content.obj, privilegeId="System.Read")
                    )
                    for item in content.propSet
                ]
                content.propSet = []
        return found

    retrieving_now = retrieving.retrieve
    monkeypatch.setattr(retrieving, "retrieve", retrieve)

    assert inventory.list_vms(session) == before
    assert calls(lab, "Login") == 2


def read_categories(vcenter) -> None:
    with open_session(vcenter) as session, open_automation(session) as opened:
        opened.get("tagging/category")


@pytest.fixture
def tag_sessions(lab):
    """The sessions of the Automation API that are left over."""
    lab.site.automation_sessions.close_all()
    return lab.site.automation_sessions.all


def test_all_steps_of_one_body_log_in_to_the_automation_api_once_and_out_at_its_end(lab, vcenter, tag_sessions):
    before = dict(lab.site.faults.calls)
    with one_session(vcenter):
        for _ in range(3):
            read_categories(vcenter)
        assert len(tag_sessions()) == 1

    made = {name: calls(lab, f"automation.{name}") - before.get(f"automation.{name}", 0) for name in ("POST", "DELETE")}
    assert made == {"POST": 1, "DELETE": 1}
    assert tag_sessions() == []


def test_a_step_alone_logs_out_of_the_automation_api(vcenter, tag_sessions):
    read_categories(vcenter)

    assert tag_sessions() == []


@pytest.mark.usefixtures("kept")
def test_a_kept_automation_session_that_has_ended_is_replaced_once(lab, vcenter, tag_sessions):
    read_categories(vcenter)
    ended = tag_sessions()
    lab.site.automation_sessions.close_all()
    for _ in range(2):
        read_categories(vcenter)

    assert len(ended) == len(tag_sessions()) == 1
    assert ended != tag_sessions()


@pytest.mark.usefixtures("kept")
def test_an_automation_session_that_is_new_and_refused_is_not_replaced(lab, vcenter, tag_sessions):
    with open_session(vcenter) as session, open_automation(session) as opened:
        lab.site.automation_sessions.close_all()
        with pytest.raises(AuthenticationError):
            opened.get("tagging/category")

    assert tag_sessions() == []


@pytest.mark.usefixtures("kept")
def test_of_two_automation_log_ins_at_once_one_is_kept_and_the_other_ends(vcenter, tag_sessions, kept):
    with open_session(vcenter) as session, open_automation(session), open_automation(session):
        assert len(tag_sessions()) == 2

    assert len(tag_sessions()) == 1
    assert kept.load_token(vcenter).value == tag_sessions()[0].cookie


@pytest.mark.usefixtures("kept")
def test_the_automation_session_goes_to_no_server_with_another_certificate(vcenter, tag_sessions, kept):
    read_categories(vcenter)
    ours = kept.load_token(vcenter)
    kept.store_token(vcenter, replace(ours, certificate="of another server"))

    read_categories(vcenter)

    assert [session.cookie for session in tag_sessions()] == [ours.value]  # the second one was ended
    with open_session(vcenter) as session:
        automation.end_token(session, ours)
    assert tag_sessions() == []
