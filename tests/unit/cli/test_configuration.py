"""The configuration file: what it may hold, what it never may, and what comes before it."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from vmkeep.cli import settings
from vmkeep.cli.configuration import load, user_folder, value_of
from vmkeep.cli.main import cli
from vmkeep.errors import UsageError
from vmkeep.repository import create_repository


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for setting in settings.SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)


OTHER_ID = 4711
"""A group that is not ours."""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the configuration file where a user has it; return its path."""
    monkeypatch.delenv("VMKEEP_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    path = tmp_path / "xdg" / "vmkeep" / "config.toml"
    path.parent.mkdir(parents=True)

    def write(text, mode=0o600):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def run(*arguments, **environment):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False, env=environment)


def shown(**environment):
    return json.loads(run("config", "show", "--json", **environment).output)["settings"]


def test_a_command_finds_the_repository_that_the_file_names(write, tmp_path):
    made = create_repository(str(tmp_path / "repo"))
    write(f'repository = "{tmp_path}/repo"\n')

    assert json.loads(run("repo", "stats", "--json").output)
    assert made.id


def test_a_setting_that_has_a_default_is_shown_with_it(monkeypatch):
    monkeypatch.setenv("VMKEEP_CONFIG", os.devnull)
    found = shown()
    for key in ("catalog", "cache", "policies", "time_zone"):
        assert found[key]["source"] == "default"
        assert found[key]["value"]
    assert found["policies"]["value"].endswith("include/policies")


def test_an_option_comes_before_the_environment_and_that_before_the_file(write, tmp_path):
    for name in ("one", "two", "three"):
        create_repository(str(tmp_path / name))
    write(f'repository = "{tmp_path}/one"\n')

    def checked(*arguments, **environment):
        return run("image", "export", "latest:none", "out", *arguments, **environment)

    for arguments, environment, name in (
        ((), {}, "one"),
        ((), {"VMKEEP_REPOSITORY": str(tmp_path / "two")}, "two"),
        (("-r", str(tmp_path / "three")), {"VMKEEP_REPOSITORY": str(tmp_path / "two")}, "three"),
    ):
        with pytest.raises(Exception, match=f"/{name}"):
            checked(*arguments, **environment)


def test_a_variable_that_is_empty_hides_the_files_value(write):
    write('limit_rate = "1MiB"\n')

    assert value_of(settings.LIMIT_RATE) == "1MiB"
    assert shown(VMKEEP_LIMIT_RATE="")["limit_rate"] == {"value": None, "source": "not set"}


def test_each_value_is_shown_with_where_it_comes_from(write):
    write('user = "backup"\n')

    found = shown(VMKEEP_VCENTER="vc.example.com")

    assert found["user"] == {"value": "backup", "source": "configuration file"}
    assert found["vcenter"] == {"value": "vc.example.com", "source": "environment variable VMKEEP_VCENTER"}
    assert found["time_zone"] == {"value": "UTC", "source": "default"}
    assert found["vddk"] == {"value": None, "source": "not set"}


@pytest.mark.parametrize("variable", ["VMKEEP_PASSWORD", "VMKEEP_PASSPHRASE", "VMKEEP_NEW_PASSPHRASE"])
def test_no_secret_is_ever_shown(variable):
    assert "s3cret" not in run("config", "show", **{variable: "s3cret"}).output
    assert "s3cret" not in run("config", "show", VMKEEP_CATALOG="postgresql://vmkeep:s3cret@db/vmkeep").output


@pytest.mark.parametrize(
    "key",
    ["password", "passphrase", "new_passphrase", "second_passphrase", "Password", "vcenter_password", "passwd",
     "aws_secret_access_key", "api_token"],
)  # fmt: skip
def test_a_key_for_a_secret_is_refused_by_file_line_and_key_and_never_repeated(write, key):
    path = write(f'user = "backup"\n\n{key} = "s3cret"\n')

    with pytest.raises(UsageError, match=rf"{path}, line 3: '{key}' .* secret.*password_file") as caught:
        load()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'catalog = "postgresql://vmkeep:s3cret@db/vmkeep"',
        'catalog = "postgresql://db/vmkeep?user=vmkeep&password=s3cret"',
        'catalog = "postgresql://admin@corp:s3cret@db/vmkeep"',
        'catalog = "postgresql://vmkeep:my s3cret@db/vmkeep"',
        'catalog = "postgresql://vmkeep:my/s3cret@db/vmkeep"',
        'catalog = "mssql://db/vmkeep?PWD=s3cret"',
        'catalog = "postgresql://db/vmkeep?user=vmkeep;password=s3cret"',
        'catalog = "postgresql://db/vmkeep#password=s3cret"',
        'catalog = "postgresql://db/vmkeep?options=x%26password%3Ds3cret"',
        'catalog = "host=db password = s3cret"',
        'repository = "sftp://backup:s3cret@host/repo"',
        'vcenter = "root:s3cret@vc.example.com"',
        'vcenter = "https://root:s3cret@vc.example.com"',
    ],
)
def test_a_password_inside_an_address_is_refused_and_never_repeated(write, line):
    write(f"{line}\n")

    with pytest.raises(UsageError, match=r"line 1: .* password") as caught:
        load()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'repository = "sftp://backup@host:22/repo@home"',
        'user = "backup@vsphere.local"',
        'vcenter = "[fd00::1]:8443"',
        'limit_rate = "20:00-06:00=unlimited,default=50MiB"',
        'catalog = "postgresql+psycopg://vmkeep@db:5432/vmkeep"',
    ],
)
def test_an_address_without_a_password_is_taken(write, line):
    write(f"{line}\n")

    assert line.partition('"')[2].rstrip('"') in load().values()


@pytest.mark.parametrize(
    ("key", "meant"),
    [("repositry", "repository"), ("password-file", "password_file"), ("VCENTER", "vcenter"), ("vddk_dir", "vddk")],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(write, key, meant):
    path = write(f'{key} = "x"\n')

    with pytest.raises(UsageError, match=rf"{path}, line 1: .*did you mean '{meant}'"):
        load()


def test_a_key_that_resembles_none_is_told_all_there_are(write):
    write('colour = "green"\n')

    with pytest.raises(UsageError, match="no setting 'colour'; the settings are repository, "):
        load()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("user = 5\n", "text in quotes"),
        ("user = true\n", "text in quotes"),
        ("[user]\nname = 'x'\n", "text in quotes"),
        ('user = ""\n', "empty"),
        ('user = "a\\nb"\n', "line end"),
        ("user = \n", "TOML"),
        ('user = "a"\nuser = "b"\n', "TOML"),
        (b"user = '\xff'\n", "UTF-8"),
        ('vddk = "vddk"\n', "relative"),
        ('repository = "repo"\n', "relative"),
        (b"#" * 70000, "longer"),
        ("user = " + "[" * 30000, "TOML"),
        ("user = " + "9" * 5000, "TOML"),
    ],
)
def test_a_file_that_is_not_right_is_refused_by_its_name(write, text, wrong):
    path = write(text)

    with pytest.raises(UsageError, match=f"{path}.*{wrong}"):
        load()


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_file_that_others_can_change_is_refused(write, mode):
    path = write('user = "backup"\n', mode=mode)
    os.chown(path, -1, OTHER_ID)

    with pytest.raises(UsageError, match="chmod go-w"):
        load()


def test_a_file_that_the_users_own_group_can_change_is_read(write):
    write('user = "backup"\n', mode=0o660)

    assert load() == {"user": "backup"}


def test_a_path_may_begin_with_the_home_folder(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    write('password_file = "~/.vmkeep-password"\nrepository = "~/repo"\n')

    assert load() == {"password_file": "/home/ann/.vmkeep-password", "repository": "/home/ann/repo"}


def test_another_file_can_be_named_and_has_to_be_there(write, tmp_path, monkeypatch):
    write('user = "first"\n')
    (tmp_path / "other.toml").write_text('user = "other"\n')

    monkeypatch.setenv("VMKEEP_CONFIG", str(tmp_path / "other.toml"))
    assert value_of(settings.USER) == "other"
    monkeypatch.setenv("VMKEEP_CONFIG", os.devnull)
    assert value_of(settings.USER) is None
    monkeypatch.setenv("VMKEEP_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(UsageError, match=r"missing\.toml: no such file; VMKEEP_CONFIG"):
        value_of(settings.USER)


def test_a_pipe_is_no_configuration_file_and_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("VMKEEP_CONFIG", str(tmp_path / "pipe"))

    with pytest.raises(UsageError, match="pipe: is no file"):
        load()


def test_a_home_folder_that_nobody_knows_is_told(monkeypatch):
    monkeypatch.setenv("VMKEEP_CONFIG", "~nobody-of-that-name/config.toml")

    with pytest.raises(UsageError, match="VMKEEP_CONFIG=~nobody-of-that-name"):
        load()


@pytest.mark.parametrize("relative", ["XDG_CONFIG_HOME", "XDG_STATE_HOME"])
def test_no_folder_of_the_user_depends_on_where_a_command_starts(tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(relative, "here")

    assert str(user_folder(relative, ".kind")) == f"{tmp_path}/home/.kind/vmkeep"
    monkeypatch.setenv("HOME", "home")
    assert user_folder(relative, ".kind") is None


def test_a_user_without_a_home_folder_needs_no_file(monkeypatch):
    monkeypatch.delenv("VMKEEP_CONFIG")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))

    assert load() == {}


@pytest.mark.parametrize("page", [("--help",), ("point", "list", "--help"), ("help", "environment"), ("--version",)])
def test_help_and_versions_are_there_beside_a_broken_file(write, page):
    write("broken\n")

    assert run(*page).exit_code == 0


def test_the_cache_of_the_file_holds_for_child_processes(write, tmp_path, monkeypatch):
    monkeypatch.setenv("VMKEEP_CACHE", "x")
    monkeypatch.delenv("VMKEEP_CACHE")
    create_repository(str(tmp_path / "repo"))
    write(f'cache = "{tmp_path}/cache"\n')

    run("repo", "stats", "-r", str(tmp_path / "repo"))

    assert os.environ["VMKEEP_CACHE"] == f"{tmp_path}/cache"


def test_the_option_of_a_password_file_comes_before_the_variable_of_a_password(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("vmkeep.cli.passphrases.secret_from", lambda path, what: asked.append((path, what)) or "x")

    with pytest.raises(Exception, match=r"(?i)vc\.invalid"):
        run(
            "vm", "list", "--vcenter", "vc.invalid", "--user", "u", "--password-file", "chosen", VMKEEP_PASSWORD="other"
        )

    assert asked == [("chosen", "password")]


@pytest.mark.parametrize("chosen", ["/dev/null", "here"])
def test_a_missing_setting_names_the_file_only_where_it_could_stand(write, monkeypatch, chosen):
    path = write("")
    monkeypatch.setenv("VMKEEP_CONFIG", str(path) if chosen == "here" else chosen)

    with pytest.raises(UsageError) as refused:
        run("repo", "stats")

    told = "--repository is missing: give it, or set VMKEEP_REPOSITORY"
    assert str(refused.value) == (f"{told}, or repository in {path}" if chosen == "here" else told)


def test_a_user_without_home_is_named_no_file(write, monkeypatch):
    write("")
    monkeypatch.setattr("vmkeep.cli.configuration.user_folder", lambda *_: None)

    with pytest.raises(UsageError, match=r"VMKEEP_REPOSITORY$"):
        run("repo", "stats")
