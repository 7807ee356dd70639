"""The two connection types: what the form shows, and what the engine gets."""

from __future__ import annotations

import json

import pytest
from airflow.providers_manager import ProvidersManager

from vmkeep.errors import UsageError
from vmkeep_airflow.site import make_site


@pytest.fixture
def connections(monkeypatch):
    def add(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return add


@pytest.mark.parametrize(
    ("conn_type", "fields"),
    [
        ("vsphere", {"thumbprint", "ca_file", "vddk"}),
        ("vmkeep", {"catalog", "limit_rate", "aws_conn_id", "retention", "time_zone"}),
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
