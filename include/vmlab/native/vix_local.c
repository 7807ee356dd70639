/* Calls that make, grow, check and remove local disks; a host's disks are made through its API instead. */
#define _GNU_SOURCE
#include "vix_internal.h"

static int check(VixDiskLibConnection connection, const char *path)
{
    if (!vix_ready())
        return VIX_NOT_INITIALISED;
    if (!vix_is_connection(connection))
        return VIX_INVALID_CONNECTION;
    if (!connection->local)
        return VIX_NOT_ON_REMOTE;
    return path && *path ? VL_OK : VL_INVALID;
}

static const char *create_type(int32_t disk_type)
{
    switch (disk_type) {
    case VIX_DISK_MONOLITHIC_FLAT:
        return "monolithicFlat";
    case VIX_DISK_SPLIT_FLAT:
        return "twoGbMaxExtentFlat";
    case VIX_DISK_VMFS_FLAT:
    case VIX_DISK_VMFS_THIN:
        return "vmfs";
    default:
        return NULL; /* hosted sparse formats */
    }
}

static const char *adapter_name(int32_t adapter)
{
    return adapter == VIX_ADAPTER_IDE ? "ide" : adapter == VIX_ADAPTER_BUSLOGIC ? "buslogic" : "lsilogic";
}

static void tell(VixDiskLibProgressFunc progress, void *data, int percent)
{
    if (progress)
        (void)progress(data, percent);
}

VIX_API VixError VixDiskLib_Create(VixDiskLibConnection connection, const char *path,
                                   const VixDiskLibCreateParams *params, VixDiskLibProgressFunc progress, void *data)
{
    int code = check(connection, path);
    if (code || !params)
        return code ? (VixError)code : VL_INVALID;
    const char *type = create_type(params->diskType);
    if (!type)
        return VL_UNSUPPORTED;
    tell(progress, data, 0);
    code = vl_create_flat(path, type, adapter_name(params->adapterType), NULL, params->capacity, params->hwVersion,
                          params->diskType != VIX_DISK_VMFS_FLAT);
    tell(progress, data, 100);
    return (VixError)code;
}

VIX_API VixError VixDiskLib_Unlink(VixDiskLibConnection connection, const char *path)
{
    int code = check(connection, path);
    return (VixError)(code ? code : vl_remove(path));
}

VIX_API VixError VixDiskLib_Grow(VixDiskLibConnection connection, const char *path, VixDiskLibSectorType capacity,
                                 Bool updateGeometry, VixDiskLibProgressFunc progress, void *data)
{
    (void)updateGeometry;
    int code = check(connection, path);
    if (!code)
        code = vl_extend_flat(path, capacity);
    if (!code)
        tell(progress, data, 100);
    return (VixError)code;
}

VIX_API VixError VixDiskLib_SpaceNeededForClone(VixDiskLibHandle disk, int32_t diskType, uint64_t *bytes)
{
    if (!vix_is_disk(disk) || !bytes)
        return disk && bytes ? VIX_INVALID_HANDLE : VL_INVALID;
    if (!create_type(diskType))
        return VL_UNSUPPORTED;
    *bytes = vl_chain_capacity(disk->chain) * VL_SECTOR;
    return VL_OK;
}

/* Repairs nothing: the chain opens or it does not. */
VIX_API VixError VixDiskLib_CheckRepair(VixDiskLibConnection connection, const char *path, Bool repair)
{
    (void)repair;
    vl_chain *chain;
    int code = check(connection, path);
    if (!code && !(code = vl_chain_open(path, 0, &chain)))
        vl_chain_close(chain);
    return (VixError)code;
}
