"""Calls that set up a guest for guest operations, and tell what happened in it."""

import copy
from typing import Any

from vmlab.api import moid
from vmlab.control.targets import ControlError, find_vm
from vmlab.managed.machine import new_guest, set_running
from vmlab.managed.site import Guest, Script, Site, User


def add_user(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, user, password, administrator?}`: add a user to the guest, or change one."""
    name, password = body.get("user"), body.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        raise ControlError("a user needs a name and a password: user, password")
    administrator = bool(body.get("administrator", False))
    _guest(site, body).users[name] = User(password=password, administrator=administrator)
    return {}


def add_script(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, match, exit?, seconds?, output?, ignores_term?}`: set what command lines do that hold the text `match`."""
    fields = {name: value for name, value in body.items() if name != "vm"}
    try:
        script = Script(**fields)
    except TypeError as error:
        raise ControlError(str(error)) from error
    _guest(site, body).add_script(script)
    return {}


def set_tools(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, running, address?}`: stop VMware Tools in the guest, or start them; with an address, install them first."""
    vm = find_vm(site, body.get("vm"))
    with site.world.transaction():
        guest = copy.deepcopy(site.world.get(vm, "guest"))
        if body.get("address"):
            guest = new_guest(site.world.get(vm, "config"), tools=True, ip=str(body["address"]))
        set_running(guest, running=bool(body.get("running")))
        site.world.update(vm, guest=guest)
    return {}


def events(site: Site, query: dict[str, Any]) -> dict[str, Any]:
    """`vm`: return what happened in the guest, in its order, and the paths of its files."""
    guest = _guest(site, query)
    return {"events": guest.events(), "files": sorted(guest.files)}


def _guest(site: Site, body: dict[str, Any]) -> Guest:
    return site.guests.of(moid(find_vm(site, body.get("vm"))))
