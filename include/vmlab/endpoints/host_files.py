"""`/folder`, `/guestFile` and `/downloads` of one ESXi host, on its own port, for a ticket of the vCenter only.

The host reads what its own running VMs hold. It knows no datacenter of the vCenter.
"""

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from vmlab.endpoints.bundle_file import is_bundle, send_bundle
from vmlab.endpoints.folder_files import PREFIX, FileService, folder_path, planned
from vmlab.endpoints.guest_file import PATH, pass_file
from vmlab.managed.site import Site
from vmlab.soap import HttpRequest, HttpResponse, plain

COOKIE = "vmware_cgi_ticket"
HOST_DATACENTER = "ha-datacenter"


class HostHandler:
    """Answers the requests of one host's own port."""

    def __init__(self, site: Site, host: Any) -> None:
        self._site = site
        self._host = host
        self._files = FileService(site, host)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if request.target.partition("?")[0] == PATH:
            return planned(self._site, f"guestFile.{request.method}") or pass_file(self._site, request)
        if not (folder_path(request.target) or is_bundle(request.target)):
            return plain(404, "not found")
        if (fault := planned(self._site, f"host.{request.method}")) is not None:
            return fault
        ticket = re.search(rf'{COOKIE}="?([\w-]+)', request.headers.get("cookie", ""))
        url = f"https://{request.headers.get('host', '')}{request.target}"
        user = self._site.service_tickets.redeem(ticket.group(1), request.method, url) if ticket else None
        if is_bundle(request.target):
            return send_bundle(self._site, self._host, request, user)
        if user is None:
            return plain(401, "a ticket for this request is needed", {"WWW-Authenticate": 'Basic realm="VMware"'})
        parts = urlsplit(request.target)
        query = parse_qs(parts.query)
        if query.get("dcPath", [HOST_DATACENTER])[0] != HOST_DATACENTER:
            return plain(404, "a host has no such datacenter")
        name = query.get("dsName", [""])[0]
        return self._files.answer(request, user, name, unquote(parts.path.removeprefix(PREFIX)).strip("/"))
