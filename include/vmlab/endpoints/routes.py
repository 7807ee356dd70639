"""Finds the handler of a URL: SOAP, storage policies, tags, version list, datastore files, control calls."""

import logging

from vmlab.api import offered_versions, vim
from vmlab.control import CONTROL_PREFIX, ControlHandler
from vmlab.endpoints.automation import AutomationService
from vmlab.endpoints.bundle_file import is_bundle, send_bundle
from vmlab.endpoints.folder_files import FolderHandler, folder_path, planned
from vmlab.endpoints.guest_file import PATH as GUEST_FILE
from vmlab.endpoints.guest_file import pass_file
from vmlab.endpoints.policy_service import PATHS, PolicyService
from vmlab.managed.dispatch import Dispatcher
from vmlab.managed.site import Site, cookie_of
from vmlab.soap import HttpRequest, HttpResponse

log = logging.getLogger(__name__)


class Routes:
    """The one handler of the TLS server."""

    def __init__(self, site: Site, dispatcher: Dispatcher, control: ControlHandler) -> None:
        self._site = site
        self._dispatcher = dispatcher
        self._control = control
        self._folder = FolderHandler(site)
        self._policies = PolicyService(site)
        self._automation = AutomationService(site)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.target.partition("?")[0]
        if path in ("/sdk", "/sdk/") and request.method == "POST":
            return self._dispatcher.handle(request)
        if self._site.product.is_vcenter and path in PATHS and request.method == "POST":
            return self._policies.handle(request)
        if self._site.product.is_vcenter and path.startswith(("/api/", "/rest/")):
            return self._automation.handle(request)
        if not self._site.product.is_vcenter and (path == GUEST_FILE or is_bundle(request.target)):
            return self._of_a_host(request)
        if folder_path(request.target):
            return self._folder.handle(request)
        if path.startswith(CONTROL_PREFIX):
            return self._control.handle(request)
        if path in ("/sdk/vimServiceVersions.xml", "/sdk/vimService.wsdl") and request.method in ("GET", "HEAD"):
            return HttpResponse(body=_versions(self._site.product.release.api))
        return HttpResponse(status=404, body=b"not found\n", content_type="text/plain")

    def _of_a_host(self, request: HttpRequest) -> HttpResponse:
        """Answer what a vCenter leaves to its hosts; here a session of the host does what a vCenter's ticket does."""
        if not is_bundle(request.target):
            return planned(self._site, f"guestFile.{request.method}") or pass_file(self._site, request)
        session = self._site.sessions.find(cookie_of(request.headers))
        host = self._site.world.all(vim.HostSystem)[0]
        return send_bundle(self._site, host, request, session.user if session is not None else None)


def _versions(newest: str) -> bytes:
    newest, *older = offered_versions(newest)
    prior = "".join(f"<version>{version}</version>" for version in older)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><namespaces version="1.0"><namespace><name>urn:vim25</name>'
        f"<version>{newest}</version><priorVersions>{prior}</priorVersions></namespace></namespaces>"
    ).encode()
