"""Kept log-ins are found and read by the same login only, and lapse."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from vmkeep.model.site import VCenter
from vmkeep.vsphere import tickets
from vmkeep.vsphere.tickets import KEPT_SECONDS, Ticket, TicketCache

VCENTER = VCenter(host="vc.example", user="backup", password="secret", thumbprint="AB" * 20)
TICKET = Ticket(
    version="v8", certificate="CD", cookie="session=1234", user_name="backup", session_key="52ab", content="<x/>" * 999
)


@pytest.fixture
def cache():
    return TicketCache()


def test_the_same_login_finds_it(cache):
    cache.store(VCENTER, TICKET)

    assert cache.load(VCENTER) == TICKET


@pytest.mark.parametrize("field", ["host", "user", "password", "thumbprint", "ca_file"])
def test_a_login_that_differs_in_one_field_does_not(cache, field):
    cache.store(VCENTER, TICKET)

    assert cache.load(replace(VCENTER, **{field: "EF" * 20})) is None


def test_no_secret_lies_in_the_memory_in_clear(cache):
    cache.store(VCENTER, TICKET)

    for secret in ("1234", "52ab", "secret", "backup", "vc.example"):
        assert cache._map.find(secret.encode()) == -1


def test_a_process_that_was_forked_finds_what_another_one_stores(cache):
    if (child := os.fork()) == 0:
        cache.store(VCENTER, TICKET)
        os._exit(0)
    os.waitpid(child, 0)

    assert cache.load(VCENTER) == TICKET


def test_one_that_was_not_used_for_a_while_has_lapsed(cache, monkeypatch):
    cache.store(VCENTER, TICKET)
    later = tickets.time.monotonic() + KEPT_SECONDS + 1
    monkeypatch.setattr(tickets.time, "monotonic", lambda: later)

    assert cache.load(VCENTER) is None


@pytest.mark.parametrize("at", [40, 60, 200])
def test_one_that_is_damaged_is_none(cache, at):
    cache.store(VCENTER, TICKET)
    place = cache._place(cache._secrets(VCENTER)[0])
    cache._map[place + at] ^= 1

    assert cache.load(VCENTER) is None


def test_one_that_is_too_large_is_not_kept(cache):
    cache.store(VCENTER, replace(TICKET, content="x" * 99999))

    assert cache.load(VCENTER) is None
