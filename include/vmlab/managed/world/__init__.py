"""The managed objects of a site: references with properties, kept in one SQLite file.

`world` holds every object by id, behind one lock. A change happens inside a transaction; at its outermost end the
changed objects go into the `database` and the revision rises, which wakes every client that waits for changes.
Properties are replaced and never changed in place, so a reader may keep a value after it has given the lock back.

The other modules are the shape of the inventory: `ancestry` knows the root folder and what stands above an object,
`folders` enters and names the children of a folder, and `reach` says which hosts have a datastore or a network.

Refuses to know what a property means.
"""

from vmlab.managed.world.ancestry import HOST_ROOT_FOLDER, ROOT_FOLDER, above, root_folder
from vmlab.managed.world.database import Database
from vmlab.managed.world.folders import abandon, adopt, check_free_name, inventory_name
from vmlab.managed.world.reach import hosts_of, limit_hosts, reached
from vmlab.managed.world.world import World

__all__ = [
    "HOST_ROOT_FOLDER",
    "ROOT_FOLDER",
    "Database",
    "World",
    "abandon",
    "above",
    "adopt",
    "check_free_name",
    "hosts_of",
    "inventory_name",
    "limit_hosts",
    "reached",
    "root_folder",
]
