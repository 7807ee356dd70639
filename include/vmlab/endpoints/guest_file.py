"""`/guestFile?id=…&token=…` of a host: the content of one file in a guest, for a token that a guest operation gave."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from vmlab.managed.site import File, Site
from vmlab.soap import HttpRequest, HttpResponse, plain

PATH = "/guestFile"
LIMIT = 64 << 20


def pass_file(site: Site, request: HttpRequest) -> HttpResponse:
    """Give or take the file. A token is good for one request, and for the method that it was given for."""
    token = parse_qs(urlsplit(request.target).query).get("token", [""])[0]
    transfer = site.guests.redeem(token, request.method)
    if transfer is None:
        return plain(404, "no such transfer")
    if request.method == "GET":
        file = transfer.guest.files.get(transfer.path)
        if file is None:
            return plain(404, "the file is gone")
        return HttpResponse(body=file.data, content_type="application/octet-stream")
    data = request.body.read(LIMIT)
    if len(data) != transfer.size:
        return plain(400, f"{len(data)} bytes came, {transfer.size} were announced")
    transfer.guest.files[transfer.path] = File(owner=transfer.owner, data=data, changed=datetime.now(UTC))
    return plain(200, "")
