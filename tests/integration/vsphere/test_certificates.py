"""No secret goes to a server whose certificate was not checked: not at first, and not on any later connection."""

from __future__ import annotations

import pytest

from vmkeep.errors import CertificateError, UnreachableError, UsageError
from vmkeep.vsphere import inventory
from vmkeep.vsphere.session import open_session


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_pinned_certificate_is_enough_whoever_signed_it(lab, reach, host):
    for thumbprint in (lab.certificate.sha1, lab.certificate.sha256, lab.certificate.sha1.replace(":", "").lower()):
        with open_session(reach(lab, lab.port, host=host, thumbprint=thumbprint)) as session:
            assert session.thumbprint_sha1 == lab.certificate.sha1


def test_a_certificate_signed_by_the_given_authority_is_enough(lab, reach):
    ca_file = str(lab.certificate.certificate)

    with open_session(reach(lab, lab.port, thumbprint=None, ca_file=ca_file)) as session:
        assert session.thumbprint_sha1 == lab.certificate.sha1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_wrong_thumbprint_gets_no_byte_and_the_error_shows_both(lab, reach, impostor, host):
    with pytest.raises(CertificateError) as caught, open_session(reach(lab, impostor.port, host=host)):
        pass

    assert impostor.heard_in(1) == b""
    assert lab.certificate.sha1 in str(caught.value)
    assert impostor.certificate.sha1 in str(caught.value)
    assert "pin the new thumbprint" in str(caught.value)


def test_an_unknown_signer_gets_no_byte_and_the_error_shows_what_to_pin(lab, reach, impostor):
    with pytest.raises(CertificateError) as caught, open_session(reach(lab, impostor.port, thumbprint=None)):
        pass

    assert impostor.heard_in(2) == b""  # once to be refused, once for the thumbprint to show
    assert impostor.certificate.sha1 in str(caught.value)


def test_another_authority_gets_no_byte(lab, reach, impostor):
    ca_file = str(lab.certificate.certificate)

    with (
        pytest.raises(CertificateError, match="not trusted"),
        open_session(reach(lab, impostor.port, thumbprint=None, ca_file=ca_file)),
    ):
        pass

    assert impostor.heard_in(1) == b""


def test_a_certificate_for_another_name_is_refused(lab, reach, relay_at):
    relay = relay_at("127.0.0.2")
    settings = {"host": "127.0.0.2", "thumbprint": None, "ca_file": str(lab.certificate.certificate)}

    with pytest.raises(CertificateError, match="not trusted"), open_session(reach(lab, relay.port, **settings)):
        pass


def test_a_server_swapped_between_two_calls_gets_neither_cookie_nor_password(lab, reach, relay, impostor):
    with open_session(reach(lab, relay.port)) as session:
        assert inventory.list_vms(session)
        relay.target = impostor.port
        relay.drop()

        with pytest.raises(CertificateError):
            inventory.list_vms(session)
        with pytest.raises(CertificateError):
            session.request("GET", "/folder/x?dsName=datastore1")
        assert impostor.heard_in(2) == b""

        relay.target = lab.port
        assert inventory.list_vms(session)


def test_a_server_swapped_while_the_session_has_expired_gets_no_password(lab, reach, relay, impostor):
    with open_session(reach(lab, relay.port)) as session:
        lab.site.sessions.close_all()
        relay.target = impostor.port
        relay.drop()

        with pytest.raises(CertificateError):
            inventory.list_vms(session)

    assert impostor.heard_in(1) == b""


@pytest.mark.parametrize("thumbprint", ["12:34", "not a thumbprint"])
def test_a_malformed_thumbprint_is_refused_before_anything_is_tried(lab, reach, thumbprint):
    with pytest.raises(UsageError, match="thumbprint"), open_session(reach(lab, lab.port, thumbprint=thumbprint)):
        pass


def test_a_missing_authority_file_is_named(lab, reach, tmp_path):
    missing = str(tmp_path / "ca.pem")

    with (
        pytest.raises(UsageError, match=r"ca\.pem"),
        open_session(reach(lab, lab.port, thumbprint=None, ca_file=missing)),
    ):
        pass


def test_nobody_there_is_said_at_once(lab, reach, listener):
    gone = listener(lambda client: None)
    gone.close()

    with (
        pytest.raises(UnreachableError, match=f"127.0.0.1:{gone.port} cannot be reached"),
        open_session(reach(lab, gone.port)),
    ):
        pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "two..dots", "x" * 300])
def test_a_name_that_does_not_resolve_is_said(lab, reach, host):
    with (
        pytest.raises(UnreachableError, match="does not resolve"),
        open_session(reach(lab, 443, host=host)),
    ):
        pass


def test_a_server_that_is_silent_ends_in_time(lab, reach, listener):
    silent = listener(lambda client: client.recv(1 << 20) and client.recv(1))

    with (
        pytest.raises(UnreachableError, match="TLS handshake within"),
        open_session(reach(lab, silent.port), call_timeout=0.5),
    ):
        pass


def test_a_server_that_speaks_no_tls_is_said(lab, reach, listener):
    plain = listener(lambda client: client.sendall(b"220 mail ready\r\n") or client.recv(1 << 20))

    with pytest.raises(UnreachableError, match="does not speak TLS"), open_session(reach(lab, plain.port)):
        pass


def test_a_server_that_trickles_ends_in_time(lab, reach, trickler):
    there = reach(lab, trickler.port, thumbprint=trickler.certificate.sha256)

    late = "no answer in time|TLS handshake within"  # by the machine's load
    with pytest.raises(UnreachableError, match=late), open_session(there, call_timeout=1.0):
        pass
