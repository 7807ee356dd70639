"""The doctor's rules: every check gets an answer, nothing hangs, and what was not found out is never good."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import AuthenticationError, UnreachableError
from vmkeep.flows.doctor import (
    Answer,
    State,
    Subject,
    certificates,
    clocks,
    examine,
    matching_versions,
    proxies,
    reaching,
    roles_held,
    spaces,
)
from vmkeep.model.purpose import PURPOSES, Purpose
from vmkeep.proxy import ProxyMachine
from vmkeep.vsphere.certificatelook import CertificateLook
from vmkeep.vsphere.hostlook import HostLook
from vmkeep.vsphere.rights import On, rights_of
from vmkeep.vsphere.rightslook import HeldRights

GOOD = Answer(state=State.OK, text="good")
TODAY = datetime(2026, 11, 27, tzinfo=UTC)


def subject(ask, names=("first", "second"), *, about="part", seconds=30.0):
    return Subject(about=about, names=names, ask=ask, seconds=seconds)


def states(report):
    return {check.name: check.state for check in report.checks}


# The examination


def test_a_question_that_nobody_answered_is_not_known_and_says_which_failure_is_the_reason():
    def ask(answers):
        answers.add("zeroth", Answer(state=State.FAULT, text="bad, and no reason to stop"))
        answers.ask("first", fail, needed=True)

    def fail():
        raise UnreachableError("broken")

    report = examine([subject(ask, ("zeroth", "first", "second"))])

    assert states(report) == {"zeroth": State.FAULT, "first": State.FAULT, "second": State.UNKNOWN}
    assert "'first' failed" in report.checks[2].text
    assert not report.fit


def test_a_part_that_hangs_costs_its_own_time_limit_and_hides_no_answer_of_another():
    for_ever = threading.Event()

    def hang(answers):
        answers.add("first", GOOD)
        answers.ask("second", lambda: for_ever.wait() and GOOD)

    begun = time.monotonic()
    hanging = [subject(hang, about=f"dead {number}", seconds=0.2) for number in range(20)]
    report = examine([*hanging, subject(lambda answers: answers.add("first", GOOD), ("first",), about="alive")])
    for_ever.set()

    assert time.monotonic() - begun < 20 * 0.2
    assert [check.state for check in report.checks if check.about == "alive"] == [State.OK]
    assert {(check.state, check.text) for check in report.checks if check.name == "second"} == {
        (State.FAULT, "no answer within 0 s")
    }
    assert not report.fit


def test_of_a_part_that_never_answered_the_first_check_is_the_fault_and_the_others_are_not_known():
    for_ever = threading.Event()

    report = examine([subject(lambda answers: for_ever.wait(), seconds=0.05)])
    for_ever.set()

    assert [(check.state, check.text) for check in report.checks] == [
        (State.FAULT, "no answer within 0 s"),
        (State.UNKNOWN, "not asked, because 'first' did not come to its end"),
    ]


def test_an_answer_that_comes_too_late_changes_nothing_any_more():
    told, late = [], threading.Event()
    kept = []

    def slow(answers):
        kept.append(answers)
        late.wait()

    report = examine([subject(slow, ("first",), seconds=0.05)], told.append)
    kept[0].add("first", GOOD)
    late.set()

    assert [check.state for check in (*report.checks, *told)] == [State.FAULT, State.FAULT]


@pytest.mark.parametrize(
    ("error", "needed", "state"),
    [
        (AuthenticationError("no"), False, State.FAULT),
        (UnreachableError("no"), False, State.UNKNOWN),
        (UnreachableError("no"), True, State.FAULT),
        (ZeroDivisionError("no"), False, State.UNKNOWN),
        (ZeroDivisionError("no"), True, State.FAULT),
    ],
)
def test_an_error_becomes_a_state_and_never_ends_the_examination(error, needed, state):
    def fail():
        raise error

    def ask(answers):
        assert not answers.ask("first", fail, needed=needed)
        assert answers.ask("second", lambda: GOOD)

    assert states(examine([subject(ask)])) == {"first": state, "second": State.OK}


def test_an_error_outside_of_a_question_is_a_fault_and_leaves_no_check_without_an_answer():
    def ask(_answers):
        raise ZeroDivisionError("odd")

    report = examine([subject(ask)])

    assert [(check.state, check.text) for check in report.checks] == [
        (State.FAULT, "unexpected ZeroDivisionError: odd"),
        (State.UNKNOWN, "not asked, because 'first' did not come to its end"),
    ]


@given(st.lists(st.lists(st.sampled_from([*State]), max_size=3), min_size=1, max_size=4))
def test_every_name_has_an_answer_and_only_a_fault_makes_it_unfit(given_states):
    def ask_of(own):
        def ask(answers):
            for number, state in enumerate(own):
                answers.add(str(number), Answer(state=state, text="t"))

        return ask

    names = ("0", "1", "2")
    report = examine([subject(ask_of(own), names, about=str(at)) for at, own in enumerate(given_states)])

    assert {(check.about, check.name) for check in report.checks} == {
        (str(at), name) for at in range(len(given_states)) for name in names
    }
    assert report.fit == (State.FAULT not in [state for own in given_states for state in own])
    assert sum(report.counts.values()) == len(report.checks)


# Ports


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent():
    """A port that accepts nobody, because its queue is full: a firewall that drops packets looks like this."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    waiting = [socket.socket() for _ in range(8)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(server.getsockname())
    yield server.getsockname()[1]
    for one in (*waiting, server):
        one.close()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def host(address="127.0.0.1", out_of_use=None):
    return HostLook(address=address, version="8.0.3", out_of_use=out_of_use)


def test_an_open_a_closed_and_a_silent_port_and_an_unknown_name_are_told_apart(listening, silent):
    assert reaching.why_not("127.0.0.1", listening, seconds=30) == ""
    assert reaching.why_not("127.0.0.1", closed_port(), seconds=30) == "Connection refused"
    assert reaching.why_not("127.0.0.1", silent, seconds=0.1) == "no answer within 0 s"
    assert reaching.why_not("no-such-host.invalid", 443, seconds=30) == "the name does not resolve"


def test_many_silent_hosts_cost_one_time_limit_together(silent):
    begun = time.monotonic()

    knocks = reaching.knock_at([host() for _ in range(40)], [silent], seconds=0.5)

    assert time.monotonic() - begun < 40 * 0.5
    assert len(knocks) == 40


def test_a_host_that_is_out_of_use_is_no_fault_and_every_other_one_is():
    knocks = [
        reaching.Knock(host=host("esx1"), port=443, why_not=""),
        reaching.Knock(host=host("esx1"), port=902, why_not=""),
        reaching.Knock(host=host("esx2"), port=902, why_not="no answer within 5 s"),
        reaching.Knock(host=host("esx3", "in maintenance mode"), port=902, why_not="Connection refused"),
    ]

    good, dead, idle = reaching.judge(knocks)

    assert (good.state, good.text) == (State.OK, "TCP 443 and 902 of 1 host can be reached from this machine")
    assert (dead.state, dead.text) == (State.FAULT, "host esx2: TCP 902: no answer within 5 s")
    assert (idle.state, idle.text.split(";")[0]) == (State.WARNING, "host esx3 is in maintenance mode")
    assert [answer.state for answer in reaching.judge([])] == [State.UNKNOWN]


def test_a_host_that_is_this_machine_by_its_name_is_neither_good_nor_a_fault():
    closed = [
        reaching.Knock(host=host(name), port=902, why_not="the name does not resolve")
        for name in ("esx1.localhost", "localhost.example")
    ]

    assert [answer.state for answer in reaching.judge(closed)] == [State.UNKNOWN, State.FAULT]


# Certificate, clock, space, versions


def seen(expires):
    return CertificateLook(how="by its pinned thumbprint", thumbprint_sha256="AA", expires=expires)


@pytest.mark.parametrize(
    ("days", "state"), [(400, State.OK), (29, State.WARNING), (0, State.WARNING), (-1, State.WARNING)]
)
def test_a_certificate_is_told_of_before_it_ends_and_after(days, state):
    assert certificates.judge(seen(TODAY + timedelta(days=days)), TODAY).state is state


def test_a_certificate_whose_end_cannot_be_read_is_not_called_good():
    assert certificates.judge(seen(None), TODAY).state is State.WARNING


@pytest.mark.parametrize(
    ("seconds", "state", "side"),
    [(5, State.OK, "apart"), (-5, State.OK, "apart"), (120, State.WARNING, "ahead"), (-3600, State.FAULT, "behind")],
)
def test_a_clock_that_is_wrong_is_told_with_its_side(seconds, state, side):
    answer = clocks.judge(timedelta(seconds=seconds), "the clock")

    assert answer.state is state
    assert side in answer.text


@pytest.mark.parametrize(
    ("free", "capacity", "state"),
    [
        (1 << 40, None, State.OK), (1 << 40, 1 << 41, State.OK), (1 << 40, 1 << 45, State.WARNING),
        (5 << 30, None, State.WARNING), (0, None, State.FAULT), ((1 << 30) - 1, 1 << 40, State.FAULT),
    ],
)  # fmt: skip
def test_a_place_that_fills_up_is_told_before_it_is_full(free, capacity, state):
    assert spaces.judge(free, capacity, "it", least=1 << 30).state is state


@pytest.mark.parametrize(
    ("vddk", "servers", "state"),
    [
        ("8.0.3", {"vc": "8.0.3", "esx": "7.0.0"}, State.OK),
        ("8.0.3", {"vc": "9.0.0", "esx": "6.7.0"}, State.OK),
        ("8.0.3", {"vc": "8.0.3", "esx": "6.5.0"}, State.WARNING),
        ("7.0.3", {"vc": "9.0.0"}, State.WARNING),
        ("6.7.1", {"vc": "7.0.0"}, State.OK),
        ("6.5.2", {"vc": "6.7.0"}, State.WARNING),
        ("9.1.0", {"vc": "9.1.0", "esx": "7.0.3"}, State.OK),
        ("9.0.0", {"vc": "10.0.0"}, State.UNKNOWN),
        ("8.0.3", {"vc": "8.0.3", "esx": None}, State.UNKNOWN),
        ("10.0.0", {"vc": "9.0.0"}, State.UNKNOWN),
        ("unknown", {"vc": "9.0.0"}, State.UNKNOWN),
    ],
)
def test_a_vddk_goes_with_the_generations_that_vmware_names_and_no_other_is_called_good(vddk, servers, state):
    assert matching_versions.match(vddk, servers).state is state


# Rights


def held(**less):
    """All rights on two objects of each kind. Of a kind that is named, the last objects lack a privilege."""
    found = {}
    for on in On:
        every = frozenset(right.privilege for purpose in Purpose for right in rights_of(purpose) if right.on is on)
        number, privilege = less.get(on.name, (0, ""))
        objects = tuple((f"{on.name} {at}", every - {privilege} if at >= 2 - number else every) for at in range(2))
        found[on] = HeldRights(there=2, objects=objects)
    return found


def judged(rights):
    return dict(roles_held.judge(rights))


def test_whoever_holds_all_rights_has_them_for_every_kind_of_run():
    assert {answer.state for answer in judged(held()).values()} == {State.OK}
    assert set(judged(held())) == {*roles_held.NAMES, roles_held.RARE}


def test_a_right_that_is_missing_on_some_vms_is_a_warning_with_their_names_and_on_all_a_fault():
    some = judged(held(VM=(1, "VirtualMachine.State.CreateSnapshot")))["rights for backup"]
    every = judged(held(VM=(2, "VirtualMachine.State.CreateSnapshot")))["rights for backup"]

    assert (some.state, every.state) == (State.WARNING, State.FAULT)
    assert "VirtualMachine.State.CreateSnapshot on 1 of 2 VMs (VM 1)" in some.text
    assert "VirtualMachine.State.CreateSnapshot on every VM" in every.text


def test_a_new_vm_needs_one_folder_and_not_all_of_them():
    some = judged(held(FOLDER=(1, "VirtualMachine.Inventory.Create")))["rights for restore-new"]
    none = judged(held(FOLDER=(2, "VirtualMachine.Inventory.Create")))["rights for restore-new"]

    assert (some.state, none.state) == (State.OK, State.WARNING)


def test_two_vms_of_one_name_count_as_two():
    rights = held()
    (_, all_rights), _ = rights[On.VM].objects
    rights[On.VM] = HeldRights(there=2, objects=(("twin", frozenset()), ("twin", all_rights)))

    assert "on 1 of 2 VMs (twin)" in judged(rights)["rights for backup"].text


def test_rights_on_objects_that_the_user_does_not_see_are_not_known():
    rights = held() | {On.VM: HeldRights(there=0, objects=())}

    assert judged(rights)["rights for backup"].state is State.UNKNOWN


def test_a_large_inventory_is_asked_about_in_part_and_the_answer_says_so():
    rights = held()
    rights[On.VM] = HeldRights(there=5000, objects=rights[On.VM].objects)

    assert "2 of 5,000 VMs were asked about" in judged(rights)["rights for backup"].text


def test_rare_rights_that_could_be_asked_nowhere_are_not_called_good():
    everywhere = {on: {right.privilege for purpose in Purpose for right in rights_of(purpose)} for on in On}
    rights = {on: HeldRights(there=1, objects=(("it", frozenset(names)),)) for on, names in everywhere.items()}
    assert judged(rights)[roles_held.RARE].state is State.OK

    blind = judged(rights | {On.VM: HeldRights(there=0, objects=())})[roles_held.RARE]

    assert blind.state is State.UNKNOWN
    assert "sees no VM" in blind.text


def test_a_right_of_rare_cases_is_told_with_its_case():
    rare = judged(held(VM=(2, "Cryptographer.Access"), FOLDER=(2, "VirtualMachine.Config.RawDevice")))[roles_held.RARE]

    assert rare.state is State.WARNING
    assert "VirtualMachine.Config.RawDevice (if a disk becomes a raw device mapping)" in rare.text


def test_the_kinds_of_run_that_are_examined_are_all_that_there_are():
    assert set(PURPOSES.values()) == set(Purpose)


# This machine


@pytest.mark.parametrize(
    ("machine", "state"),
    [
        (ProxyMachine(), State.OK),
        (ProxyMachine(why_lvm="LVM takes every disk"), State.WARNING),
        (ProxyMachine(why_lvm="in a container", lvm_known=False), State.UNKNOWN),
    ],
)
def test_an_lvm_that_is_not_known_is_not_called_good(monkeypatch, machine, state):
    monkeypatch.setattr(proxies, "read_machine", lambda: machine)

    assert proxies._lvm().state is state
