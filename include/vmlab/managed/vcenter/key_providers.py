"""The key providers of a vCenter, as far as making an encrypted VM again needs them: the keys that each has."""

import copy
import uuid
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import Call, Site, method

Manager = vim.encryption.CryptoManagerKmip
_META = "crypto_keys"


def knows_key(site: Site, key: Any) -> bool:
    """Return whether a provider has a key."""
    return key.providerId is not None and key.keyId in _keys(site).get(key.providerId.id, ())


@method(Manager, "RegisterKmsCluster")
def register_kms_cluster(call: Call, clusterId: Any, managementType: str | None) -> None:
    """Add a key provider, without keys."""
    if clusterId.id in _keys(call.site):
        raise vmodl.fault.InvalidArgument(invalidProperty="clusterId", msg=f"{clusterId.id} already exists")
    call.world.set_meta(_META, {**_keys(call.site), clusterId.id: []})


@method(Manager, "ListKmsClusters")
def list_kms_clusters(
    call: Call, includeKmsServers: bool | None, managementTypeFilter: int | None, statusFilter: int | None
) -> list[Any]:
    """The key providers, without their servers."""
    kinds = vim.encryption
    return [kinds.KmipClusterInfo(clusterId=kinds.KeyProviderId(id=name)) for name in _keys(call.site)]


@method(Manager, "GenerateKey")
def generate_key(call: Call, keyProvider: Any, **_: Any) -> Any:
    """Make a key in a provider; there is no default one."""
    kinds = vim.encryption
    name = keyProvider.id if keyProvider is not None else ""
    if name not in _keys(call.site):
        raise vmodl.fault.InvalidArgument(invalidProperty="keyProvider", msg=f"no key provider {name}")
    made = str(uuid.uuid4())
    call.world.set_meta(_META, {**_keys(call.site), name: [*_keys(call.site)[name], made]})
    key = kinds.CryptoKeyId(keyId=made, providerId=kinds.KeyProviderId(id=name))
    return kinds.CryptoKeyResult(keyId=key, success=True)


@method(Manager, "RemoveKeys")
def remove_keys(call: Call, keys: list[Any], force: bool) -> list[Any]:
    """Forget keys. `force` allows it for a key that a VM is encrypted with, and locks that VM, unless it runs."""
    results = []
    for key in keys or []:
        users = [
            vm
            for vm in call.world.all(vim.VirtualMachine)
            if (config := call.world.get(vm, "config")).keyId is not None and config.keyId.keyId == key.keyId
        ]
        gone = knows_key(call.site, key) and (force or not users)
        if gone:
            provider = key.providerId.id
            left = [name for name in _keys(call.site)[provider] if name != key.keyId]
            call.world.set_meta(_META, {**_keys(call.site), provider: left})
            _lock(call.site, users)
        results.append(vim.encryption.CryptoKeyResult(keyId=key, success=gone, reason=None if gone else "KeyInUse"))
    return results


@method(Manager, "QueryCryptoKeyStatus")
def query_crypto_key_status(call: Call, keyIds: list[Any], checkKeyBitMap: int) -> list[Any]:
    """Tell whether providers have some keys. The other questions of the method are not answered."""
    return [
        Manager.CryptoKeyStatus(keyId=key, keyAvailable=knows_key(call.site, key) if checkKeyBitMap & 1 else None)
        for key in keyIds or []
    ]


def _lock(site: Site, vms: list[Any]) -> None:
    for vm in vms:
        runtime = copy.deepcopy(site.world.get(vm, "runtime"))
        if runtime.powerState == "poweredOff":
            runtime.cryptoState = "locked"
            site.world.update(vm, runtime=runtime)


def _keys(site: Site) -> dict[str, list[str]]:
    return dict(site.world.meta(_META) or {})
