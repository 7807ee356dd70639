"""Sessions through real pyVmomi over TLS."""

import pytest
from pyVmomi import vim


@pytest.mark.parametrize(
    ("user", "password"), [("administrator@vsphere.local", "no"), ("nobody@vsphere.local", "VMlab-1!")]
)
def test_a_wrong_user_or_password_is_an_invalid_login(anonymous, user, password):
    with pytest.raises(vim.fault.InvalidLogin, match="incorrect user name or password"):
        anonymous.sessionManager.Login(user, password)


@pytest.mark.parametrize("user", ["Administrator@vsphere.local", "VSPHERE.LOCAL\\administrator"])
def test_user_names_are_taken_in_any_spelling_a_vcenter_takes(connect, user):
    assert connect(user).content.sessionManager.currentSession.userName == "VSPHERE.LOCAL\\administrator"


def test_the_content_needs_no_session_and_all_else_does(lab, connect):
    instance = connect()
    content = instance.RetrieveContent()
    content.sessionManager.Logout()
    assert instance.RetrieveContent().about.apiType == "VirtualCenter"
    with pytest.raises(vim.fault.NotAuthenticated):
        instance.CurrentTime()
    with pytest.raises(vim.fault.NotAuthenticated):
        _ = content.rootFolder.name
    with pytest.raises(vim.fault.NotAuthenticated):
        content.viewManager.CreateContainerView(content.rootFolder, [], True)
    content.sessionManager.Login(lab.user, lab.password)


def test_a_session_can_be_listed_and_terminated_by_another(connect):
    mine, other = connect().content, connect("readonly@vsphere.local").content
    key = other.sessionManager.currentSession.key
    listed = {session.key: session for session in mine.sessionManager.sessionList}
    assert listed[key].userName == "VSPHERE.LOCAL\\readonly"
    assert mine.sessionManager.SessionIsActive(key, listed[key].userName)
    mine.sessionManager.TerminateSession([key])
    assert not mine.sessionManager.SessionIsActive(key, listed[key].userName)
    with pytest.raises(vim.fault.NotAuthenticated):
        _ = other.rootFolder.name


def test_an_idle_session_ends(lab, connect):
    content = connect().content
    lab.settings(session_timeout=0)
    try:
        with pytest.raises(vim.fault.NotAuthenticated):
            _ = content.rootFolder.name
    finally:
        lab.settings(session_timeout=1800)


def test_a_clone_ticket_opens_one_more_session_once(connect, lab):
    content = connect().content
    ticket = content.sessionManager.AcquireCloneTicket()
    other = connect().content
    other.sessionManager.Logout()
    assert other.sessionManager.CloneSession(ticket).userName == "VSPHERE.LOCAL\\administrator"
    assert other.rootFolder.name == "Datacenters"
    other.sessionManager.Logout()
    with pytest.raises(vim.fault.InvalidLogin):
        other.sessionManager.CloneSession(ticket)
