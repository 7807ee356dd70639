"""The vApp part of a VM's configuration: its products, properties, licence texts and sections of an OVF file."""

from typing import Any

from vmlab.api import vim, vmodl

_LISTS = (("product", "key"), ("property", "key"), ("ovfSection", "key"))
_TEXTS = ("eula", "ovfEnvironmentTransport")
_VALUES = ("ipAssignment", "installBootRequired", "installBootStopDelay")
_TRANSPORTS = ("iso", "com.vmware.guestInfo")
_POLICIES = ("dhcpPolicy", "transientPolicy", "fixedPolicy", "fixedAllocatedPolicy")


def apply_vapp(config: Any, spec: Any) -> None:
    """Change the vApp part as a ConfigSpec says. Raises InvalidArgument for a change that cannot be."""
    if spec.vAppConfigRemoved:
        config.vAppConfig = None
    given = spec.vAppConfig
    if given is None:
        return
    made = config.vAppConfig or vim.vApp.VmConfigInfo(
        ipAssignment=vim.vApp.IPAssignmentInfo(), installBootRequired=False, installBootStopDelay=0
    )
    for name, key in _LISTS:
        setattr(made, name, _changed(list(getattr(made, name)), getattr(given, name), name, key))
    for name in _TEXTS:
        if getattr(given, name):
            setattr(made, name, list(getattr(given, name)))
    for name in _VALUES:
        if getattr(given, name) is not None:
            setattr(made, name, getattr(given, name))
    _check(made)
    config.vAppConfig = made


def _changed(items: list[Any], changes: list[Any], name: str, key: str) -> list[Any]:
    for change in changes:
        wanted = change.removeKey if change.operation == "remove" else getattr(change.info, key, None)
        found = next((item for item in items if getattr(item, key) == wanted), None)
        if wanted is None or (found is None) is not (change.operation == "add"):
            raise _invalid(name, f"{change.operation} does not fit the item with the key {wanted}")
        if found is not None:
            items.remove(found)
        if change.operation != "remove":
            items.append(change.info)
    return items


def _check(made: Any) -> None:
    names = [(one.classId or "", one.id or "", one.instanceId or "") for one in made.property]
    if len({*names}) < len(names):
        raise _invalid("property", "two properties have one class, id and instance")
    for one in made.property:
        if not one.id or not one.type:
            raise _invalid("property", "a property needs an id and a type")
        if one.userConfigurable is False and one.value not in (None, "", one.defaultValue):
            raise _invalid("property", f"{one.id} is not for users to set, so that it has its default value only")
    if unknown := {*made.ovfEnvironmentTransport} - {*_TRANSPORTS}:
        raise _invalid("ovfEnvironmentTransport", f"no transport {', '.join(sorted(unknown))}")
    if made.ipAssignment.ipAllocationPolicy not in (None, *_POLICIES):
        raise _invalid("ipAssignment.ipAllocationPolicy", f"no policy {made.ipAssignment.ipAllocationPolicy}")


def _invalid(name: str, why: str) -> Any:
    path = f"configSpec.vAppConfig.{name}"
    return vmodl.fault.InvalidArgument(
        invalidProperty=path, msg=f"A specified parameter was not correct: {path}: {why}"
    )
