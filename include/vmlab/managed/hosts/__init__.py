"""Hosts, clusters, resource pools and networks: what clients read of them, and where a VM can run.

`compute` works out lists and summaries from a few stored values, `host_config` fills a host's whole configuration,
and `environment` says what a VM could be given on a host. `host_states` puts a host into maintenance, takes it out of
reach or locks it down, and switches DRS of a cluster on or off. `firmware` makes the bundle of a host's configuration.
`hardware_versions` knows which virtual hardware each release of ESXi runs, and how many NFC sessions. `networks` has
standard, distributed and opaque networks, and decides which one a card's backing names.
"""

from vmlab.managed.hosts import compute, environment, firmware, host_config, host_states, networks
from vmlab.managed.hosts.compute import MEMORY, NUMA_NODES, THREADS, allocation, hosts_of_cluster
from vmlab.managed.hosts.firmware import DOWNLOADS
from vmlab.managed.hosts.hardware_versions import (
    check_host_version,
    hosts_that_run,
    most_nfc_sessions,
    newest_version_on,
    runs_version,
    version_key,
)
from vmlab.managed.hosts.host_states import (
    CONNECTED,
    DISCONNECTED,
    MAINTENANCE,
    NOT_RESPONDING,
    UNLOCKED,
    host_state,
    is_connected,
    lockdown_of,
    require_connected,
    set_host_state,
    uses_drs,
)
from vmlab.managed.hosts.networks import Switch, add_group, add_opaque, add_switch, check_card, names_network

BEHAVIOURS = (
    compute,
    environment,
    firmware,
    host_config,
    host_states,
    networks,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = [
    "BEHAVIOURS",
    "CONNECTED",
    "DISCONNECTED",
    "DOWNLOADS",
    "MAINTENANCE",
    "MEMORY",
    "NOT_RESPONDING",
    "NUMA_NODES",
    "THREADS",
    "UNLOCKED",
    "Switch",
    "add_group",
    "add_opaque",
    "add_switch",
    "allocation",
    "check_card",
    "check_host_version",
    "host_state",
    "hosts_of_cluster",
    "hosts_that_run",
    "is_connected",
    "lockdown_of",
    "most_nfc_sessions",
    "names_network",
    "newest_version_on",
    "require_connected",
    "runs_version",
    "set_host_state",
    "uses_drs",
    "version_key",
]
