"""Finds the datastore that a person names, among those that the host of a place can use."""

from __future__ import annotations

from vmkeep.errors import NotFoundError
from vmkeep.vsphere.candidates import Named, instead
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.places import Place


def stored_datastore(place: Place, name: str, *, what: str = "", remedy: str = "") -> str:
    """Return a datastore's name as vSphere stores it, for datastore paths, from the name that a person typed.

    A path or an id is not looked for here, because a place has turned those of its request into names.

    :param what: begins the message: the option, and its value.
    :param remedy: ends the message.
    :raises NotFoundError: the host cannot use such a datastore. The message tells why, or suggests the nearest names.
    """
    typed = {decode_name(stored): stored for stored in place.datastores}
    if name in typed:
        return typed[name]
    if name in place.datastores:
        return name
    obstacles = {decode_name(stored): why for stored, why in place.unusable}
    if name in obstacles:
        raise NotFoundError(
            f"{what}datastore '{name}' {obstacles[name]}, so that nothing can be made there: choose another one, or "
            "put that right"
        )
    known = instead(Named.DATASTORE, name, typed, there_are="it has")
    raise NotFoundError(f"{what}the host has no datastore '{name}'; {known}{remedy}")
