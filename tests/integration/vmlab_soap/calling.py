"""Methods called with a neutral value for each parameter, to see whether they answer as the tables say."""

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, ManagedObject

from tests.integration.vmlab_soap.tables import wrong
from vmlab.api import default_for


def call_with_anything(manager, name, kinds):
    """Call a method with a neutral value for each required parameter, and hold the answer against the tables.

    Returns the fault's type, or None.
    """
    info = getattr(type(manager), name).info
    arguments = [None if param.flags & F_OPTIONAL else anything(param.type, kinds) for param in info.params]
    try:
        answer = getattr(manager, name)(*arguments)
        if isinstance(answer, vim.Task):
            WaitForTask(answer)
    except vmodl.MethodFault as refused:
        answer = refused
    fault = isinstance(answer, vmodl.MethodFault)
    assert not list(wrong(answer, object if fault or answer is None else info.result, name))
    return type(answer) if fault else None


def anything(kind, known):
    """A value of a type: an object of the inventory where a reference is asked for."""
    if issubclass(kind, list):
        return kind([anything(kind.Item, known)])
    if issubclass(kind, ManagedObject):
        return next((ref for ref in known if isinstance(ref, kind)), kind("nothing-0"))
    value = default_for(kind)
    if isinstance(value, DataObject):
        point_somewhere(value, known)
    return value


def point_somewhere(value, known):
    """Give required references inside a data object something to point at."""
    for info in value._GetPropertyList():
        field = getattr(value, info.name)
        if isinstance(field, DataObject | list):
            for one in field if isinstance(field, list) else [field]:
                if isinstance(one, DataObject):
                    point_somewhere(one, known)
        elif field is None and not info.flags & F_OPTIONAL and issubclass(info.type, ManagedObject):
            setattr(value, info.name, anything(info.type, known))
