"""The service instance, which a client meets first, and which names the managers."""

import copy
from datetime import UTC, datetime
from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.properties import read_property
from vmlab.managed.site import Call, Site, computed, method
from vmlab.managed.vcenter.managers import MANAGERS, ON_A_HOST, add_managers, host_of_manager
from vmlab.managed.vcenter.privilege_names import OF_A_HOST, PRIVILEGES
from vmlab.managed.world import ROOT_FOLDER, root_folder

SERVICE_INSTANCE = vim.ServiceInstance("ServiceInstance")


def add_services(site: Site) -> None:
    """Enter the service instance and its managers. They are the same at every start."""
    site.world.add(SERVICE_INSTANCE, lasting=False)
    add_managers(site)


@computed(vim.ServiceInstance, "content")
def content(site: Site, _: Any) -> Any:
    """The root folder, the managers, and the name and version of the server."""
    if not site.product.is_vcenter:
        return _content_of_a_host(site)
    version, release = site.product.version, site.product.release
    about = vim.AboutInfo(
        name="VMware vCenter Server",
        fullName=f"VMware vCenter Server {version} build-{release.vcenter_build} (simulated by vmlab)",
        vendor="vmlab",
        version=version,
        build=release.vcenter_build,
        localeVersion="INTL",
        localeBuild="000",
        osType="linux-x64",
        productLineId="vpx",
        apiType="VirtualCenter",
        apiVersion=release.api,
        instanceUuid=site.instance_uuid,
        licenseProductName="VMware VirtualCenter Server",
        licenseProductVersion=version.rpartition(".")[0],
    )
    return fill(vim.ServiceInstanceContent(rootFolder=ROOT_FOLDER, about=about, **MANAGERS))


def _content_of_a_host(site: Site) -> Any:
    about = copy.copy(read_property(site, site.world.all(vim.HostSystem)[0], "summary").config.product)
    about.licenseProductName, about.licenseProductVersion = "VMware ESX Server", about.version.rpartition(".")[0]
    managers = {name: manager for name, manager in MANAGERS.items() if name in ON_A_HOST}
    return fill(vim.ServiceInstanceContent(rootFolder=root_folder(site.world), about=about, **managers))


@computed(vim.ServiceInstance, "serverClock")
def server_clock(_site: Site, _: Any) -> datetime:
    """The time now."""
    return datetime.now(UTC)


@computed(vim.ServiceInstance, "capability")
def capability(_site: Site, _: Any) -> Any:
    """The abilities of this vCenter."""
    return fill(vim.Capability(provisioningSupported=True, multiHostSupported=True))


@method(vim.ServiceInstance, "RetrieveServiceContent")
def retrieve_service_content(call: Call) -> Any:
    """Return the `content` property. Needs no session."""
    return content(call.site, call.this)


@method(vim.ServiceInstance, "CurrentTime")
def current_time(call: Call) -> datetime:
    """The time now."""
    return datetime.now(UTC)


@computed(vim.AuthorizationManager, "roleList")
def role_list(site: Site, _: Any) -> list[Any]:
    """All roles with their privileges."""
    everything = [privilege.privId for privilege in privilege_list(site, None)]
    return [
        vim.AuthorizationManager.Role(
            roleId=role.role_id,
            system=role.role_id < 0,
            name=role.name,
            info=vim.Description(label=role.label, summary=role.label),
            privilege=list(everything if role.privileges is None else role.privileges),
        )
        for role in site.access.roles()
    ]


def known_privileges(site: Site) -> frozenset[str]:
    """Return the names of the privileges that the server knows."""
    return PRIVILEGES if site.product.is_vcenter else OF_A_HOST


@computed(vim.AuthorizationManager, "privilegeList")
def privilege_list(site: Site, _: Any) -> list[Any]:
    """Every privilege that the server knows."""
    return [
        vim.AuthorizationManager.Privilege(
            privId=name, name=name.rpartition(".")[2], privGroupName=name.rpartition(".")[0], onParent=False
        )
        for name in sorted(known_privileges(site))
    ]


@computed(vim.option.OptionManager, "setting")
def settings(site: Site, ref: Any) -> list[Any]:
    """A few settings that clients look at: the vCenter's, or a host's advanced options."""
    if host := host_of_manager(site, ref):
        options: list[Any] = read_property(site, host, "config").option
        return options
    values = {"VirtualCenter.FQDN": "localhost", "VirtualCenter.InstanceName": "localhost"}
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


@method(vim.option.OptionManager, "QueryOptions")
def query_options(call: Call, name: str | None) -> list[Any]:
    """Return settings by name, or by a prefix that ends with a dot."""
    wanted, every = name or "", settings(call.site, call.this)
    found = [one for one in every if one.key == wanted or (one.key.startswith(wanted) and wanted.endswith("."))]
    if wanted and not found:
        raise vim.fault.InvalidName(name=wanted, msg=f"no setting named {wanted}")
    return found or every
