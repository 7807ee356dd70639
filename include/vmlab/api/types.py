"""pyVmomi's classes for the lab, typed as `Any` because pyVmomi makes them at run time, without annotations."""

from typing import Any

from pyVmomi import SoapAdapter as _SoapAdapter
from pyVmomi import VmomiSupport as _Support
from pyVmomi import vim as _vim
from pyVmomi import vmodl as _vmodl

vim: Any = _vim
vmodl: Any = _vmodl
SoapAdapter: Any = _SoapAdapter
support: Any = _Support

DataObject: Any = _Support.DataObject
Enum: Any = _Support.Enum
ManagedObject: Any = _Support.ManagedObject
Object: Any = _Support.Object
F_OPTIONAL: int = _Support.F_OPTIONAL
