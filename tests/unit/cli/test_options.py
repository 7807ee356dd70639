"""Settings come from options and environment; what is missing or unsafe is named before anything is opened."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.cli.options import repository_option, site_from, vcenter_from
from vmkeep.errors import UsageError


@pytest.fixture(autouse=True)
def no_password_in_the_environment(monkeypatch):
    monkeypatch.delenv("VMKEEP_PASSWORD", raising=False)


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("Secret1!\n")
    path.chmod(0o600)
    return path


def vcenter(secret, host="vc.example.com", **changed):
    given = {
        "vcenter": host,
        "user": "backup",
        "password_file": str(secret),
        "thumbprint": None,
        "ca_file": None,
    }
    return vcenter_from(**(given | changed))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("vc.example.com", "vc.example.com", 443),
        ("vc.example.com:8443", "vc.example.com", 8443),
        ("https://vc.example.com:8443/sdk", "vc.example.com", 8443),
        ("10.0.0.7:444", "10.0.0.7", 444),
        ("[fd00::1]:8443", "fd00::1", 8443),
        ("[fd00::1]", "fd00::1", 443),
        ("fd00::1", "fd00::1", 443),
    ],
)
def test_a_vcenter_is_named_as_people_write_it(password_file, text, host, port):
    found = vcenter(password_file, text)

    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    "text", ["vc:notaport", "vc:0", "vc:99999", ":443", "vc,vc2", "vc one", "[fd00::1", "vc:\u0664"]
)
def test_a_bad_host_or_port_is_named(password_file, text):
    with pytest.raises(UsageError, match="HOST:PORT"):
        vcenter(password_file, text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("http://vc.example.com", "only https"),
        ("HTTP://vc.example.com:8443/sdk", "only https"),
        ("ldap://vc.example.com", "only https"),
        ("root@vc.example.com", "--user"),
        ("https://root:s3cret@vc.example.com", "--user"),
        ("root:s3cret@vc.example.com:443", "--user"),
        ("https://vc.example.com/ui/app", "leave out"),
        ("vc.example.com?x=1", "leave out"),
    ],
)
def test_what_is_wrong_with_a_vcenters_address_is_said_without_a_password(password_file, text, wrong):
    with pytest.raises(UsageError, match=wrong) as caught:
        vcenter(password_file, text)

    assert "s3cret" not in str(caught.value)


def test_a_password_file_the_world_can_read_is_refused(password_file):
    password_file.chmod(0o644)

    with pytest.raises(UsageError, match="chmod 600"):
        vcenter(password_file)


def test_a_disk_named_as_the_password_file_is_refused_without_reading_it_whole(tmp_path):
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 42)
    disk.chmod(0o600)

    with pytest.raises(UsageError, match="longer than 65536 bytes"):
        vcenter(disk)


def test_an_empty_password_file_is_refused(password_file):
    password_file.write_text("\n")

    with pytest.raises(UsageError, match="empty"):
        vcenter(password_file)


@pytest.mark.parametrize(
    "blob",
    [
        b"Secret1!",
        b"Secret1!\r\n",
        b"\xef\xbb\xbfSecret1!\n",
        b"\xef\xbb\xbfSecret1!\r\nmore",
        "Secret1!\r\n".encode("utf-16"),
        b"\xfe\xff" + "Secret1!\r\n".encode("utf-16-be"),
    ],
)
def test_a_password_file_of_any_editor_gives_the_same_password(password_file, blob):
    password_file.write_bytes(blob)

    assert vcenter(password_file).password == "Secret1!"


@pytest.mark.parametrize("blob", [b"\xef\xbb\xbf\r\n", b"\xef\xbb\xbf", b"\r\nSecret1!", b"\xff\xfe", b"Se\xfccret"])
def test_a_password_file_without_a_password_is_refused(password_file, blob):
    password_file.write_bytes(blob)

    with pytest.raises(UsageError, match="password file"):
        vcenter(password_file)


@pytest.mark.parametrize("password", ["Secret1!\r", "Secret1!\n", "\ufeffSecret1!"])
def test_a_password_in_the_environment_that_nobody_typed_is_refused(password_file, monkeypatch, password):
    monkeypatch.setenv("VMKEEP_PASSWORD", password)

    with pytest.raises(UsageError, match="VMKEEP_PASSWORD") as caught:
        vcenter(password_file)
    assert "Secret1!" not in str(caught.value)


def test_the_password_never_shows(password_file):
    assert "Secret1!" not in repr(vcenter(password_file))


def test_the_environments_password_comes_before_the_file(password_file, monkeypatch):
    monkeypatch.setenv("VMKEEP_PASSWORD", "other")

    assert vcenter(password_file).password == "other"


def test_every_missing_setting_is_named_with_its_variable(password_file):
    with pytest.raises(UsageError, match="VMKEEP_REPOSITORY"):
        site_from(repository=None)
    with pytest.raises(UsageError, match="VMKEEP_VCENTER"):
        vcenter(password_file, vcenter=None)
    with pytest.raises(UsageError, match="VMKEEP_USER"):
        vcenter(password_file, user=None)
    with pytest.raises(UsageError, match="VMKEEP_PASSWORD"):
        vcenter(password_file, password_file=None)


@pytest.fixture
def command():
    """A command that takes a repository, and what its options made of a site."""
    made = []

    @click.command()
    @repository_option
    def command(repository):
        made.append(site_from(repository=repository))

    def run(*arguments, **environment):
        CliRunner().invoke(
            command, ["-r", "/srv/repo", *arguments], catch_exceptions=False, standalone_mode=False, env=environment
        )
        return made[-1]

    return run


def test_a_rate_limit_reaches_the_site_from_option_or_environment(command, monkeypatch):
    monkeypatch.setenv("VMKEEP_PASSPHRASE", "so that nothing is opened to look whether it needs one")
    monkeypatch.delenv("VMKEEP_LIMIT_RATE", raising=False)

    assert command().limit_rate is None
    assert command(VMKEEP_LIMIT_RATE="1MiB").limit_rate == "1MiB"
    assert command(VMKEEP_LIMIT_RATE="").limit_rate is None
    assert command("--limit-rate", "2MiB", VMKEEP_LIMIT_RATE="1MiB").limit_rate == "2MiB"


def test_a_bad_rate_limit_is_refused_before_anything_is_opened():
    with pytest.raises(UsageError, match="rate limit 'fast'"):
        CliRunner().invoke(
            cli, ["repo", "stats", "-r", "/nowhere", "--limit-rate", "fast"],
            catch_exceptions=False, standalone_mode=False,
        )  # fmt: skip


def test_a_limit_of_a_wait_for_nothing_is_refused():
    with pytest.raises(UsageError, match="give --wait-for"):
        CliRunner().invoke(cli, ["point", "boot", "latest:web01", "--timeout", "3"], catch_exceptions=False)
