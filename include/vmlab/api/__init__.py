"""The vSphere API's types, and what the lab does with values of any of them.

pyVmomi brings the tables: one class per type, with the names, types, versions and privileges of its members.
`types` gives these classes to the lab without annotations, because pyVmomi makes them at run time. `values` fills the
required fields of a data object, turns values into XML and back, and knows which API versions the lab speaks.
`named_faults` makes a fault from its name and plain values, for a test that plans one.

This package is the vocabulary of the lab: every other one may import it. It refuses to know what a type means.
"""

from vmlab.api.named_faults import fault_named
from vmlab.api.types import F_OPTIONAL, DataObject, ManagedObject, Object, SoapAdapter, support, vim, vmodl
from vmlab.api.values import (
    API_VERSION,
    VERSION_IDS,
    VERSIONS,
    default_for,
    dump,
    fill,
    load,
    moid,
    offered_versions,
    type_named,
    type_of,
    version_of,
    wsdl_name,
)

__all__ = [
    "API_VERSION",
    "F_OPTIONAL",
    "VERSIONS",
    "VERSION_IDS",
    "DataObject",
    "ManagedObject",
    "Object",
    "SoapAdapter",
    "default_for",
    "dump",
    "fault_named",
    "fill",
    "load",
    "moid",
    "offered_versions",
    "support",
    "type_named",
    "type_of",
    "version_of",
    "vim",
    "vmodl",
    "wsdl_name",
]
