"""`/vmlab/…`: JSON in, JSON out, behind the control token. One small function per call."""

import hmac
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vmlab.authority import SiteAuthority
from vmlab.control import additions, copies, guest, guest_programs, moving, state
from vmlab.control.targets import ControlError
from vmlab.disks import DiskError
from vmlab.managed.site import Injection, Site
from vmlab.managed.vms import hide_disabled
from vmlab.nfc import NfcFault, NfcServer
from vmlab.soap import HttpRequest, HttpResponse

log = logging.getLogger(__name__)

CONTROL_PREFIX = "/vmlab/"
BODY_LIMIT = 512 << 20
Json = dict[str, Any]


class ControlHandler:
    """Answers control calls."""

    def __init__(
        self, site: Site, nfc: NfcServer, authority: SiteAuthority, token: str, renew: Callable[[], Json]
    ) -> None:
        self._site = site
        self._nfc = nfc
        self._authority = authority
        self._token = token
        self._posts: dict[str, Callable[[Json], Json]] = {
            "guest/write": lambda body: guest.write(site, body),
            "guest/hash": lambda body: guest.digest(site, body),
            "guest/user": lambda body: guest_programs.add_user(site, body),
            "guest/tools": lambda body: guest_programs.set_tools(site, body),
            "guest/program": lambda body: guest_programs.add_script(site, body),
            "vm/register": lambda body: copies.register_copy(site, body),
            "vm/relocate": lambda body: moving.relocate_vm(site, body),
            "host/connection": lambda body: moving.connect_host(site, body),
            "vm/connection": lambda body: additions.connect_vm(site, body),
            "inventory/add": lambda body: additions.add(site, body),
            "fault": self._fault,
            "clear": self._clear,
            "settings": self._settings,
            "sessions/drop": lambda _: {"dropped": site.drop_sessions()},
            "vcenter/restart": lambda _: site.restart_vcenter(),
            "certificate/renew": lambda _: renew(),
            "nfc/drop": self._drop_nfc,
        }
        self._gets: dict[str, Callable[[Json], Json]] = {
            "state": lambda _: state.describe(site, nfc),
            "counts": lambda _: state.count(site, nfc),
            "guest/events": lambda query: guest_programs.events(site, query),
            "extents": lambda query: guest.extents(site, query),
        }

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one control call."""
        parts = urlsplit(request.target)
        name = parts.path.removeprefix(CONTROL_PREFIX)
        query: Json = dict(parse_qsl(parts.query))
        try:
            self._authorise(request)
            if request.method == "GET" and name == "disk":
                length, pieces = guest.read(self._site, query)
                return HttpResponse(body=pieces, length=length, content_type="application/octet-stream")
            return _json(200, self._call(request, name, query))
        except ControlError as error:
            return _json(error.status, {"error": str(error)})
        except (DiskError, OSError) as error:
            log.warning("control call %s: %s", name, error)
            return _json(500, {"error": str(error)})

    def _authorise(self, request: HttpRequest) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise ControlError(
                "the control token is missing or wrong: send `Authorization: Bearer <control_token>`", 401
            )

    def _call(self, request: HttpRequest, name: str, query: Json) -> Json:
        if request.method == "GET" and name in self._gets:
            return self._gets[name](query)
        if request.method == "POST" and name in self._posts:
            return self._posts[name](_body(request))
        known = ", ".join(sorted([*self._posts, *self._gets, "disk"]))
        raise ControlError(f"no control call {request.method} {name}; there are {known}", 404)

    def _fault(self, body: Json) -> Json:
        """Plan a fault: the fields of `Injection`, `{effect, count?}` or `{nfc: {…}}`."""
        try:
            if "nfc" in body:
                settings = dict(body["nfc"])
                if "latency" in settings:
                    self._nfc.set_latency(float(settings.pop("latency")))
                if settings:
                    self._nfc.inject(NfcFault(**settings))
            else:
                self._site.faults.add(Injection(**{"method": "*", **body}))
        except (TypeError, ValueError) as error:
            raise ControlError(str(error)) from error
        return {}

    def _clear(self, _: Json) -> Json:
        self._site.faults.clear()
        self._nfc.clear_faults()
        return {}

    def _settings(self, body: Json) -> Json:
        """Change limits while the lab runs; docs/vmlab.md lists them."""
        site = self._site
        for name, value in body.items():
            match name:
                case "extents_per_query":
                    site.extents_per_query = max(1, int(value))
                case "bytes_per_query":
                    site.bytes_per_query = max(65536, int(value))
                case "session_timeout":
                    site.sessions.idle_seconds = float(value)
                case "nfc_session_limit":
                    self._authority.limit = int(value)
                case "transports":
                    self._authority.transports = str(value)
                case "capacities" | "datastore_states" | "hardware_versions":
                    site.world.set_meta(name, {**(site.world.meta(name) or {}), **value})
                case "free_licence":
                    site.product = site.product.with_free_licence(free=bool(value))
                case "has_new_automation":
                    site.has_new_automation = bool(value)
                case "downloads_need_tickets":
                    site.downloads_need_tickets = bool(value)
                case "hides_disabled_methods":
                    hide_disabled(site, hidden=bool(value))
                case _:
                    raise ControlError(f"no setting {name}; docs/vmlab.md lists them")
        return {}

    def _drop_nfc(self, body: Json) -> Json:
        self._nfc.drop_sessions(str(body.get("disk", "")))
        return {}


def _body(request: HttpRequest) -> Json:
    try:
        found = json.loads(request.body.read(BODY_LIMIT) or b"{}")
    except ValueError as error:
        raise ControlError(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ControlError("the body must be a JSON object")
    return found


def _json(status: int, value: Json) -> HttpResponse:
    return HttpResponse(status=status, body=json.dumps(value).encode() + b"\n", content_type="application/json")
