"""`/downloads/` of one ESXi host: the bundle of its configuration, for a ticket of the vCenter.

A host in lockdown mode refuses it, also with a ticket.
"""

from typing import Any

from vmlab.managed.hosts import DOWNLOADS, UNLOCKED, lockdown_of
from vmlab.managed.site import Site
from vmlab.soap import HttpRequest, HttpResponse, plain

RIGHT = "Host.Config.Firmware"


def is_bundle(target: str) -> bool:
    """Return whether a request is for a bundle."""
    return target.startswith(DOWNLOADS)


def send_bundle(site: Site, host: Any, request: HttpRequest, user: str | None) -> HttpResponse:
    """Answer one request for a bundle.

    :param user: the user of the ticket; `None`: the request shows none that is good for it.
    """
    if lockdown_of(site, host) != UNLOCKED:
        return plain(403, "the host is in lockdown mode")
    if site.downloads_need_tickets and user is None:
        return plain(401, "a ticket for this request is needed", {"WWW-Authenticate": 'Basic realm="VMware"'})
    if user is not None and not site.access.allowed(user, host, RIGHT):
        return plain(403, f"{user} lacks {RIGHT}")
    if request.method not in ("GET", "HEAD"):
        return plain(405, "GET and HEAD only")
    bundle = site.bundles.get(host._moId)
    if bundle is None or request.target != bundle.path:
        return plain(404, "no such bundle")
    return HttpResponse(body=bundle.content, content_type="application/octet-stream")
