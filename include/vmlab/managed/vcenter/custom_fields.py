"""Custom attributes: fields that people define, and their values on the objects of the inventory."""

from typing import Any

from vmlab.api import type_named, vim, vmodl, wsdl_name
from vmlab.managed.site import Call, Site, computed, method

Fields = vim.CustomFieldsManager

Stored = tuple[int, str, str]
"""Key and name of a field, and the type of the objects that have it. An empty type stands for all."""


def stored(site: Site) -> list[Stored]:
    """Return the fields in the order they were made."""
    return [(int(key), str(name), str(kind)) for key, name, kind in site.world.meta("custom_fields") or []]


@computed(Fields, "field")
def fields(site: Site, _: Any) -> list[Any]:
    """The fields as clients see them."""
    return [_definition(field) for field in stored(site)]


@computed(vim.ExtensibleManagedObject, "availableField")
def available_field(site: Site, ref: Any) -> list[Any]:
    """The fields that an object may have a value of."""
    return [_definition(field) for field in stored(site) if isinstance(ref, vim.ManagedEntity) and _fits(field, ref)]


@computed(vim.ExtensibleManagedObject, "value")
def values(site: Site, ref: Any) -> list[Any]:
    """An object's values, where newer clients look for them. They are kept where older clients look."""
    return list(site.world.get(ref, "customValue") or [])


@method(Fields, "AddCustomFieldDef")
def add_custom_field_def(call: Call, name: str, moType: Any, **_: Any) -> Any:
    """Define a field. Its privilege policies are not kept."""
    _check_free(call.site, name)
    field = (call.world.next_number(), name, wsdl_name(moType) if moType else "")
    call.world.set_meta("custom_fields", [*stored(call.site), field])
    return _definition(field)


@method(Fields, "RenameCustomFieldDef")
def rename_custom_field_def(call: Call, key: int, name: str) -> None:
    """Give a field another name."""
    found = _field(call.site, key)
    _check_free(call.site, name)
    renamed = [(key, name, found[2]) if field[0] == key else field for field in stored(call.site)]
    call.world.set_meta("custom_fields", renamed)


@method(Fields, "RemoveCustomFieldDef")
def remove_custom_field_def(call: Call, key: int) -> None:
    """Forget a field, and with it all of its values."""
    _field(call.site, key)
    call.world.set_meta("custom_fields", [field for field in stored(call.site) if field[0] != key])
    for ref in call.world.all(vim.ManagedEntity):
        _keep(call.site, ref, [value for value in values(call.site, ref) if value.key != key])


@method(Fields, "SetField")
def set_field(call: Call, entity: Any, key: int, value: str) -> None:
    """Set an object's value of a field. An empty value removes it."""
    if not _fits(_field(call.site, key), call.world.entry(entity).ref):
        raise vmodl.fault.InvalidArgument(invalidProperty="key", msg=f"field {key} is not for {entity._moId}")
    others = [one for one in values(call.site, entity) if one.key != key]
    _keep(call.site, entity, [*others, Fields.StringValue(key=key, value=value)] if value else others)


def check_own_value(call: Call, key: str, value: str) -> None:
    """Raise NoPermission if the caller lacks the privilege of SetField on the object itself."""
    assert call.session is not None
    call.site.access.require(call.session.user, call.this, "Global.SetCustomField")


@method(vim.ExtensibleManagedObject, "setCustomValue", check=check_own_value)
def set_custom_value(call: Call, key: str, value: str) -> None:
    """Set the receiver's value of a field, by the field's name."""
    number = next((number for number, name, _ in stored(call.site) if name == key), None)
    if number is None:
        raise vmodl.fault.InvalidArgument(invalidProperty="key", msg=f"no custom field is named {key}")
    set_field(call, call.this, number, value)


def _keep(site: Site, ref: Any, found: list[Any]) -> None:
    if found != values(site, ref):
        site.world.update(ref, customValue=Fields.Value.Array(found))


def _definition(field: Stored) -> Any:
    key, name, kind = field
    return Fields.FieldDef(key=key, name=name, type=str, managedObjectType=type_named(kind) if kind else None)


def _fits(field: Stored, ref: Any) -> bool:
    return not field[2] or isinstance(ref, type_named(field[2]))


def _field(site: Site, key: int) -> Stored:
    for field in stored(site):
        if field[0] == key:
            return field
    raise vmodl.fault.InvalidArgument(invalidProperty="key", msg=f"no custom field has the key {key}")


def _check_free(site: Site, name: str) -> None:
    if any(name == taken for _, taken, _ in stored(site)):
        raise vim.fault.DuplicateName(name=name, object=Fields("CustomFieldsManager"), msg=f"The name '{name}' exists.")
