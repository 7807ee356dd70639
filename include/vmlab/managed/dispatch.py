"""From an HTTP POST to a behaviour and back: session, privileges, planned faults, locks, tasks, SOAP answer.

Every check follows the API's tables. A method's own work is in the module that registered for it.
"""

import logging
from typing import Any

from vmlab.api import ManagedObject, Object, fill, version_of, vim, vmodl
from vmlab.managed import hosts, properties, provisioning, snapshots, storage, vcenter, vms
from vmlab.managed.properties import check_reachable, read_property
from vmlab.managed.site import (
    COOKIE,
    Behaviour,
    Call,
    Injection,
    Site,
    acting,
    cookie_of,
    find_method,
    is_system,
    no_permission,
    refuse,
    session_needed,
)
from vmlab.managed.vms import require_enabled
from vmlab.soap import (
    SOAP_BODY_LIMIT,
    HttpRequest,
    HttpResponse,
    SoapRequest,
    fault_envelope,
    result_envelope,
    translate,
)

log = logging.getLogger(__name__)

FAMILIES = (hosts, properties, provisioning, snapshots, storage, vcenter, vms)
"""The packages whose functions answer methods and properties; importing them registers these functions."""


class Dropped(Exception):
    """The planned fault is to cut the connection."""


class Unavailable(Exception):
    """The planned fault is an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Dispatcher:
    """Answers `POST /sdk`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def handle(self, http: HttpRequest) -> HttpResponse:
        """Answer one SOAP call. A fault is an answer with status 500."""
        version = version_of(http.headers.get("soapaction", ""), self._site.product.release.api)
        cookie = cookie_of(http.headers)
        headers: dict[str, str] = {}
        name = "?"
        try:
            request = SoapRequest(http.body.read(SOAP_BODY_LIMIT))
            name = request.method
            call = Call(
                site=self._site, session=None, this=request.this, method=name, cookie=cookie, client=http.client
            )
            call.session = self._site.sessions.find(cookie) if cookie else None
            acting.set(call.session)
            body = self._answer(call, request, version)
            if call.new_cookie:
                headers["Set-Cookie"] = f'{COOKIE}="{call.new_cookie}"; Path=/; HttpOnly; Secure; '
            return HttpResponse(body=translate(body, self._site.language), headers=headers)
        except Dropped:
            return HttpResponse(drop=True)
        except Unavailable as error:
            return HttpResponse(status=error.status, body=b"planned fault", content_type="text/plain")
        except vmodl.MethodFault as fault:
            log.debug("%s: fault %s: %s", name, type(fault).__name__, fault.msg)
            return self._failed(fault, version)
        except Exception as error:
            log.exception("%s failed", name)
            broken = vmodl.fault.SystemError(reason=repr(error), msg=f"A general system error occurred: {error!r}")
            return self._failed(broken, version)

    def _failed(self, fault: Any, version: str) -> HttpResponse:
        return HttpResponse(status=500, body=translate(fault_envelope(fill(fault), version), self._site.language))

    def _answer(self, call: Call, request: SoapRequest, version: str) -> bytes:
        injection = self._site.faults.take(call.method)
        if request.method == "Fetch":
            self._strike(injection, late=False)
            return self._fetch(call, request.args["prop"], version)
        behaviour = self._check(call, request)
        in_task = injection is not None and behaviour.task and injection.status is None and not injection.drop
        if not in_task:
            self._strike(injection, late=False)
        body = self._run(call, request, behaviour, injection if in_task else None, version)
        if not in_task:
            self._strike(injection, late=True)
        return body

    def _run(
        self, call: Call, request: SoapRequest, behaviour: Behaviour, planned: Injection | None, version: str
    ) -> bytes:
        world = self._site.world
        if behaviour.locked:
            with world.transaction():
                value = behaviour.run(call, **request.args)
                return result_envelope(call.method, request.info, value, version)
        if behaviour.task:
            value = self._start_task(call, request, behaviour, planned)
        else:
            value = behaviour.run(call, **request.args)
        with world.lock:
            return result_envelope(call.method, request.info, value, version)

    def _check(self, call: Call, request: SoapRequest) -> Behaviour:
        """Check session, receiver, method and privileges, in the order of a vCenter."""
        privilege = request.info.privId
        if call.session is None and not is_system(privilege):
            raise session_needed(call.this)
        if call.session is None and call.method not in _OPEN:
            raise session_needed(call.this)
        call.this = self._site.world.entry(call.this).ref
        behaviour = find_method(call.this, call.method)
        if call.session is not None:
            self._check_privileges(call, request)
        if (fault := self._site.product.refusal(call.method, privilege)) is not None:
            raise fault
        require_enabled(self._site, call.this, call.method)
        check_reachable(call)
        if behaviour is None:
            log.warning("%s.%s is not supported by vmlab", type(call.this).__name__, call.method)
            raise refuse(call, request.args)
        if behaviour.check is not None:
            behaviour.check(call, **request.args)
        if call.method in _ASK_THE_HOST:
            _require_host(call)
        return behaviour

    def _check_privileges(self, call: Call, request: SoapRequest) -> None:
        assert call.session is not None
        access, user = self._site.access, call.session.user
        for privilege in (request.info.privId or "").split():
            if not is_system(privilege):
                access.require(user, call.this, privilege)
        for param in request.info.params:
            privilege, value = getattr(param, "privId", None), request.args[param.name]
            for ref in value if isinstance(value, list) else [value]:
                if privilege and ref is not None and isinstance(ref, ManagedObject):
                    access.require(user, ref, privilege)

    def _fetch(self, call: Call, name: str, version: str) -> bytes:
        open_to_all = isinstance(call.this, vim.ServiceInstance)
        if call.session is None and not open_to_all:
            raise session_needed(call.this)
        with self._site.world.lock:
            ref = self._site.world.entry(call.this).ref
            if isinstance(ref, vim.ManagedEntity) and not call.sees()(ref):
                raise no_permission(ref, "System.View")
            if call.session is not None and (fault := call.sees().refusal(ref, name)) is not None:
                raise fault
            value = read_property(self._site, ref, name)
            if value is None or (isinstance(value, list) and not value):
                return result_envelope("Fetch", Object(result=object, resultFlags=0), None, version)
            info = type(ref)._GetPropertyInfo(name)
            return result_envelope("Fetch", Object(result=info.type, resultFlags=info.flags), value, version)

    def _start_task(self, call: Call, request: SoapRequest, behaviour: Behaviour, injection: Injection | None) -> Any:
        def work() -> Any:
            self._strike(injection, late=False)
            _require_host(call)
            result = behaviour.run(call, **request.args)
            self._strike(injection, late=True)
            return result

        user = call.session.info.userName if call.session else ""
        owner = request.info.typeName.removeprefix("vim.")
        return self._site.tasks.start(
            call.this, user, f"{owner}.{request.info.name[0].lower()}{request.info.name[1:]}", work
        )

    def _strike(self, injection: Injection | None, *, late: bool) -> None:
        """Let a planned fault happen, before the work or (`after`) once it is done."""
        if injection is None or injection.after is not late:
            return
        if injection.restart:
            self._site.restart_vcenter()
        self._site.faults.wait(injection)
        if injection.drop:
            raise Dropped
        if injection.status is not None:
            raise Unavailable(injection.status)
        if injection.fault is not None:
            raise injection.make_fault()


def _require_host(call: Call) -> None:
    """Raise the fault for work on a VM, or on a snapshot of it, whose host is out of reach."""
    vm = call.world.get(call.this, "vm") if isinstance(call.this, vim.vm.Snapshot) else call.this
    if isinstance(vm, vim.VirtualMachine):
        hosts.require_connected(call.site, call.world.get(vm, "runtime").host)


_ASK_THE_HOST = frozenset({"QueryChangedDiskAreas", "RebootGuest", "ShutdownGuest", "StandbyGuest"})
"""Methods of a VM that are no tasks, and that its host has to carry out."""
_OPEN = frozenset({"RetrieveServiceContent", "Login", "CloneSession", "Logout"})
"""The methods that a vCenter really answers without a session. The tables say System.Anonymous of more."""
