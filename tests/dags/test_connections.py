"""The three connection types: what the form shows, and what the engine gets."""

from __future__ import annotations

import json

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseHook
from sqlalchemy import make_url

from vmkeep.errors import UsageError
from vmkeep.model.limits import Limits
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.site import make_site, repository_site


@pytest.fixture
def connections(monkeypatch):
    def add(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return add


@pytest.mark.parametrize(
    ("conn_type", "fields"),
    [
        ("vsphere", {"thumbprint", "ca_file", "vddk", "disk_drivers", "limits"}),
        ("vmkeep", {"catalog", "catalog_password", "limit_rate", "aws_conn_id", "retention", "time_zone", "transfers"}),
    ],
)
def test_the_form_of_each_connection_type_has_its_own_fields(conn_type, fields):
    widgets = ProvidersManager()._connection_form_widgets_from_metadata
    prefix = f"extra__{conn_type}__"
    assert {name.removeprefix(prefix) for name in widgets if name.startswith(prefix)} == fields


def test_a_site_is_read_from_the_two_connections(connections):
    connections("vc", conn_type="vsphere", host="vc.example.com", login="u", password="p",
                extra={"thumbprint": "AA:BB", "vddk": "/opt/vddk", "ca_file": ""})  # fmt: skip
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep", extra={"limit_rate": "50MiB"})
    site = make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert site.repository == "/srv/vmkeep"
    assert site.limit_rate == "50MiB"
    assert site.vddk == "/opt/vddk"
    assert site.vcenter is not None
    assert (site.vcenter.host, site.vcenter.port, site.vcenter.thumbprint) == ("vc.example.com", 443, "AA:BB")
    assert site.vcenter.ca_file is None


def test_a_site_asks_airflow_once_for_each_connection(connections, monkeypatch):
    """Each question is a request to the API server, and nearly every task of a backup reads its site."""
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p", extra={"limits": "nfc=4"})
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep")
    asked = []
    answer = BaseHook.get_connection
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: asked.append(conn_id) or answer(conn_id))
    make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert sorted(asked) == ["repo", "vc"]


@pytest.mark.parametrize(("field", "folder"), [("/opt/of-the-connection", "/opt/of-the-connection"), ("", "/opt/vddk")])
def test_a_proxy_that_knows_its_vddk_needs_no_folder_in_the_connection(connections, monkeypatch, field, folder):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p", extra={"vddk": field})
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep")
    monkeypatch.setenv("VMKEEP_VDDK", "/opt/vddk")
    assert make_site(vsphere_conn_id="vc", repository_conn_id="repo").vddk == folder


def test_the_limits_are_read_from_both_connections(connections):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p", extra={"limits": "nfc=4, free=200GiB"})
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep", extra={"transfers": "16"})
    site = make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert site.limits == Limits(nfc=4, free="200GiB", transfers=16)
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p", extra={"limits": "nfc=500"})
    with pytest.raises(UsageError, match="nfc is a whole number from 1 to 50"):
        make_site(vsphere_conn_id="vc", repository_conn_id="repo")


@pytest.mark.parametrize("number", [0, "0", -1, 1 << 70, "4, nfc=50"])
def test_a_number_of_transfers_that_is_none_is_refused_and_never_means_any_number(connections, number):
    connections("vmkeep_default", conn_type="vmkeep", host="/srv/repo", extra={"transfers": number})
    with pytest.raises(UsageError, match="transfers is a whole number from 1 to 1000"):
        repository_site("vmkeep_default")


def test_only_the_proxys_own_environment_names_the_program_that_is_its_array_hook(connections, monkeypatch):
    named = {"array_hook": "/bin/evil", "VMKEEP_ARRAY_HOOK": "/bin/evil"}
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p", extra=named)
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep", extra=named)

    assert make_site(vsphere_conn_id="vc", repository_conn_id="repo").array_hook is None
    monkeypatch.setenv("VMKEEP_ARRAY_HOOK", "/opt/array/hook --volume db")
    monkeypatch.setenv("VMKEEP_ARRAY_HOOK_SECONDS", "30")
    site = make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert (site.array_hook, site.array_hook_seconds) == ("/opt/array/hook --volume db", 30)


def test_a_guests_user_is_read_from_a_connection_of_its_own_and_its_password_is_in_no_text(connections):
    connections("guest_web", conn_type="vmkeep_guest", login="backup", password="p")
    connections("web", conn_type="http", login="backup", password="p")
    connections("guest_empty", conn_type="vmkeep_guest", login="backup")

    login = guest_login("guest_web")

    assert (login.user, login.password) == ("backup", "p")
    assert "'p'" not in repr(login)
    for name, told in (("web", "of type 'http'"), ("guest_empty", "no password"), ("user:root", "vmkeep vm thaw")):
        with pytest.raises(UsageError, match=told):
            guest_login(name)


def test_the_passphrase_is_the_repository_connections_password(connections):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p")
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep", password="correct horse")
    site = make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert site.passphrase == "correct horse"
    assert "correct horse" not in repr(site)


def test_a_missing_connection_is_named_with_its_remedy():
    with pytest.raises(UsageError, match="'nowhere' does not exist: create it under Admin > Connections"):
        make_site(vsphere_conn_id="nowhere", repository_conn_id="nowhere")


def test_a_connection_of_another_type_is_refused(connections):
    connections("vc", conn_type="http", host="vc.example.com")
    with pytest.raises(UsageError, match="is of type 'http', not 'vsphere'"):
        make_site(vsphere_conn_id="vc", repository_conn_id="repo")


@pytest.mark.parametrize(("missing", "label"), [("host", "host"), ("login", "user"), ("password", "password")])
def test_an_empty_field_is_named(connections, missing, label):
    fields = {"host": "vc", "login": "u", "password": "p"} | {missing: ""}
    connections("vc", conn_type="vsphere", **fields)
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep")
    with pytest.raises(UsageError, match=f"has no {label}"):
        make_site(vsphere_conn_id="vc", repository_conn_id="repo")


def test_the_catalogs_password_has_a_field_of_its_own(connections):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p")
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep",
                extra={"catalog": "postgresql+psycopg2://me@db/x", "catalog_password": "p@ss/w:rd"})  # fmt: skip
    site = make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert site.catalog is not None
    url = make_url(site.catalog)
    assert (url.username, url.password, url.host, url.database) == ("me", "p@ss/w:rd", "db", "x")


@pytest.mark.parametrize(
    ("host", "catalog"),
    [
        ("/srv/vmkeep", "postgresql+psycopg2://me:hunter2@db/x"),
        ("/srv/vmkeep", "postgresql://db/x?user=me&password=hunter2"),
        ("/srv/vmkeep", "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2"),
        ("sftp://me:hunter2@host/repo", None),
        ("s3://key:hunter2@bucket/repo", None),
    ],
)
def test_a_password_in_a_field_that_airflow_shows_is_refused_and_not_repeated(connections, host, catalog):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p")
    connections("repo", conn_type="vmkeep", host=host, extra={"catalog": catalog})
    with pytest.raises(UsageError, match="'repo' has a password in its") as caught:
        make_site(vsphere_conn_id="vc", repository_conn_id="repo")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "catalog", "label"),
    [("sftp://user@[::1", None, "repository location"), ("/srv/vmkeep", "postgresql://me@[db/x", "catalog's URL")],
)
def test_an_address_that_cannot_be_read_is_told_with_its_connection_and_its_field(connections, host, catalog, label):
    connections("repo", conn_type="vmkeep", host=host, extra={"catalog": catalog})
    with pytest.raises(UsageError, match=f"'repo' has a {label} that cannot be read: Invalid IPv6 URL; correct it"):
        repository_site("repo")


@pytest.mark.parametrize("url", ["sqlite:////srv/catalog.db", "postgresql://me@db:5432/x", "s3://bucket/a:b@c"])
def test_what_holds_no_password_is_taken_as_it_is(connections, url):
    connections("vc", conn_type="vsphere", host="vc", login="u", password="p")
    connections("repo", conn_type="vmkeep", host="/srv/vmkeep", extra={"catalog": url})
    assert make_site(vsphere_conn_id="vc", repository_conn_id="repo").catalog == url
