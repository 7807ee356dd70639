"""Makes vApps and resource pools, and moves VMs into them. A VM in a vApp has no parent, only its vApp."""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import Call, Site, method
from vmlab.managed.world import abandon, above, adopt, check_free_name, inventory_name


@method(vim.ResourcePool, "CreateResourcePool")
def create_pool(call: Call, name: str, spec: Any) -> Any:
    """Make a pool in a pool."""
    return _enter(call, call.world.new_ref(vim.ResourcePool, "resgroup"), name)


@method(vim.ResourcePool, "CreateVApp")
def create_vapp(call: Call, name: str, resSpec: Any, configSpec: Any, vmFolder: Any) -> Any:
    """Make a vApp. One in a pool needs a VM folder; one in another vApp takes none."""
    nested = isinstance(call.this, vim.VirtualApp)
    if nested is (vmFolder is not None):
        raise vmodl.fault.InvalidArgument(
            invalidProperty="vmFolder", msg="a vApp in a pool needs a VM folder, and a vApp in a vApp takes none"
        )
    if vmFolder is not None:
        check_free_name(call.world, vmFolder, inventory_name(name))
    ref = _enter(call, call.world.new_ref(vim.VirtualApp, "resgroup-v"), name)
    if nested:
        call.world.update(ref, parentVApp=call.this)
    else:
        call.world.update(ref, parentFolder=vmFolder)
        adopt(call.world, vmFolder, ref)
    return ref


def check_move(call: Call, list: Any) -> None:
    """Raise NoPermission if the caller may not assign a VM to the pool or vApp, or may not move a pool."""
    assert call.session is not None
    require, user = call.site.access.require, call.session.user
    for ref in list:
        if isinstance(ref, vim.VirtualMachine):
            into_vapp = isinstance(call.this, vim.VirtualApp)
            require(user, call.this, "VApp.AssignVM" if into_vapp else "Resource.AssignVMToPool")
        else:
            require(user, ref, "Resource.MovePool")
            require(user, call.this, "Resource.MovePool")


@method(vim.ResourcePool, "MoveIntoResourcePool", check=check_move)
def move_into_pool(call: Call, list: Any) -> None:
    """Move VMs and pools into a pool or a vApp. A VM that leaves a vApp goes to the folder of the vApp."""
    into_vapp = isinstance(call.this, vim.VirtualApp)
    for ref in list:
        if not isinstance(ref, vim.VirtualMachine):
            call.world.update(ref, parent=call.this)
            continue
        home = call.world.get(ref, "parentVApp")
        if into_vapp:
            abandon(call.world, ref)
            call.world.update(ref, parent=None, parentVApp=call.this, resourcePool=call.this)
        else:
            if home is not None:
                folder = folder_of(call.site, home)
                call.world.update(ref, parent=folder, parentVApp=None)
                adopt(call.world, folder, ref)
            call.world.update(ref, resourcePool=call.this)


def folder_of(site: Site, vapp: Any) -> Any:
    """The VM folder of the outermost vApp."""
    while site.world.get(vapp, "parentFolder") is None:
        vapp = site.world.get(vapp, "parentVApp")
    return site.world.get(vapp, "parentFolder")


def _enter(call: Call, ref: Any, name: str) -> Any:
    stored = inventory_name(name)
    if not name or len(stored) > 80:
        raise vim.fault.InvalidName(name=name, msg="A name has 1 to 80 characters.")
    for pool in call.world.all(vim.ResourcePool):
        if above(call.world, pool) == call.this and call.world.get(pool, "name") == stored:
            raise vim.fault.DuplicateName(name=name, object=pool, msg=f"The name '{name}' already exists.")
    return call.world.add(ref, name=stored, parent=call.this, owner=call.world.get(call.this, "owner"))
