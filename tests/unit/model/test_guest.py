"""Commands in a guest: which requests make no sense, and where the password shows."""

import pytest

from vmkeep.errors import UsageError
from vmkeep.model.guest import GuestCommands, GuestLogin, commands_from, no_logins


@pytest.mark.parametrize("given", [
    {"freeze": "/freeze"},
    {"freeze": " ", "thaw": "/thaw"},
    {"thaw": "/thaw\n/rm"},
    {"thaw": "/thaw", "seconds": 0},
    {"thaw": "/thaw", "seconds": 1e9},
    {"thaw": "/thaw", "seconds": float("nan")},
])  # fmt: skip
def test_a_freeze_needs_a_thaw_and_a_command_is_one_line_with_a_limit(given):
    with pytest.raises(UsageError):
        GuestCommands(**given)


def test_a_request_without_commands_has_none_and_one_with_commands_needs_a_user():
    rest = {"seconds": 60.0, "failure": "fail"}

    assert commands_from(freeze="", thaw=None, login=None, **rest) is None
    with pytest.raises(UsageError, match="user"):
        commands_from(freeze=None, thaw="/thaw", login="", **rest)
    made = commands_from(freeze=None, thaw="/thaw", login="guest", **rest)
    assert made is not None
    assert (made.freeze, made.thaw) == (None, "/thaw")


def test_a_password_is_in_no_text_and_no_login_is_known_unless_it_is_given():
    assert "secret" not in repr(GuestLogin(user="root", password="secret"))
    with pytest.raises(UsageError, match="guest_web"):
        no_logins("guest_web")


@pytest.mark.parametrize("letter", ["\udcff", "\ufffe", "\x1b", "\r"])
def test_nothing_that_cannot_be_sent_to_the_guest_is_taken_before_the_freeze(letter):
    with pytest.raises(UsageError, match="cannot be sent"):
        GuestCommands(thaw=f"thaw {letter}", login="web")
    with pytest.raises(UsageError, match="name of the guest's user"):
        GuestLogin(user=f"back{letter}up", password="secret")
    with pytest.raises(UsageError, match="password of the guest's user") as told:
        GuestLogin(user="backup", password=f"secret{letter}")
    assert "secret" not in str(told.value)


def test_every_letter_that_people_write_is_taken():
    assert GuestCommands(thaw="echo 'Größe 你好 😀' \"$HOME\"", login="web").thaw
