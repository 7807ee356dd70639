"""Kept log-ins are found and read by the same login only."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from vmkeep.model.site import VCenter
from vmkeep.vsphere.tickets import Ticket, TicketCache

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
        assert cache._memory._map.find(secret.encode()) == -1


def test_a_process_that_was_forked_finds_what_another_one_stores(cache):
    if (child := os.fork()) == 0:
        cache.store(VCENTER, TICKET)
        os._exit(0)
    os.waitpid(child, 0)

    assert cache.load(VCENTER) == TICKET
