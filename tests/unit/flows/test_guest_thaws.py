"""A thaw is tried until it succeeds, or until nothing more can be hoped for."""

from __future__ import annotations

import pytest

from vmkeep.errors import AuthenticationError, GuestCommandError, TransientError, UnreachableError
from vmkeep.flows.guest_thaws import WAIT_SECONDS, try_thaw


class Thaw:
    """Fails with the given errors, in their order; then with the last one for ever, or succeeds."""

    def __init__(self, *errors, for_ever=False):
        self._errors = list(errors)
        self._for_ever = for_ever
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self._errors:
            raise self._errors[0] if self._for_ever else self._errors.pop(0)


@pytest.mark.parametrize("away", [TransientError("Tools are away"), UnreachableError("vCenter is away")])
def test_tools_or_a_vcenter_that_restart_are_waited_for(away):
    pauses = []
    thaw = Thaw(away, away, away, away)

    assert try_thaw(thaw, pause=pauses.append) is None
    assert (thaw.calls, pauses) == (5, [WAIT_SECONDS] * 4)


def test_tools_that_stay_away_end_the_tries_after_a_minute():
    pauses = []
    away = TransientError("Tools are away")

    assert try_thaw(Thaw(away, for_ever=True), pause=pauses.append) is away
    assert sum(pauses) == 60


@pytest.mark.parametrize("error", [GuestCommandError("exit code 1"), AuthenticationError("wrong password")])
def test_a_command_that_fails_is_tried_three_times_without_a_pause(error):
    thaw = Thaw(error, for_ever=True)

    assert try_thaw(thaw, pause=lambda _: pytest.fail("nothing is waited for")) is error
    assert thaw.calls == 3
