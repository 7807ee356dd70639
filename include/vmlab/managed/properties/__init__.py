"""How clients read: one property, a selection of many, changes since the last look, views and searches.

`reading` gives the value of a property path: stored, computed by a registered function, or a neutral default.
`selection` walks from a start over the references that a filter spec names, and collects what the caller may see;
`filter_specs` refuses an impossible spec first. `retrieving` answers all at once or page by page, `updates` waits
until something differs from what the client was told. `views` lists what a container holds, `search` finds by path,
UUID, address or name.

`unreachable_vms` hides the configuration of a VM whose host or datastore is lost. Everything is read under the lock.
"""

from vmlab.managed.properties import retrieving, search, updates, views
from vmlab.managed.properties.reading import read_property
from vmlab.managed.properties.search import datacenter_of, find_by_path
from vmlab.managed.properties.unreachable_vms import LOST_STATES, check_reachable, is_lost, set_connection

BEHAVIOURS = (
    retrieving,
    search,
    updates,
    views,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = [
    "BEHAVIOURS",
    "LOST_STATES",
    "check_reachable",
    "datacenter_of",
    "find_by_path",
    "is_lost",
    "read_property",
    "set_connection",
]
