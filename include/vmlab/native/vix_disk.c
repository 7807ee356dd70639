/* Disk handles: opening through the NFC service or locally, describing, closing. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAGIC UINT32_C(0x564c444b)
#define DEPTH_OVER_NETWORK 16
#define DEPTH_AT_ONCE 4

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vix_disk *open_disks;
static _Atomic int busy; /* calls that are inside Open or Close now */

bool vix_is_disk(const struct vix_disk *disk)
{
    return disk && disk->magic == MAGIC;
}

static void enlist(struct vix_disk *disk)
{
    pthread_mutex_lock(&list_lock);
    disk->next = open_disks;
    if (open_disks)
        open_disks->previous = disk;
    open_disks = disk;
    pthread_mutex_unlock(&list_lock);
}

static void strike_off(struct vix_disk *disk)
{
    pthread_mutex_lock(&list_lock);
    if (disk->next)
        disk->next->previous = disk->previous;
    if (disk->previous)
        disk->previous->next = disk->next;
    else
        open_disks = disk->next;
    pthread_mutex_unlock(&list_lock);
}

static void release(struct vix_disk *disk)
{
    vix_queue_free(disk->queue);
    vl_chain_close(disk->chain);
    vix_control_close(disk->control); /* last, because the session lasts as long as its I/O */
    vix_grant_free(&disk->grant);
    disk->magic = 0;
    free(disk);
}

static bool begin_exclusive(void)
{
    if (!vix_is_opener()) {
        vix_warn("VixDiskLib: Open or Close on another thread than the first one of this process");
        return false;
    }
    if (busy++)
        vix_warn("VixDiskLib: Open or Close from two threads at once: the real library may fail here");
    return true;
}

static int find_file(struct vix_disk *disk, const struct vix_connection *connection, const char *path)
{
    if (!connection->local && vix_buffers_too_big())
        return VL_NO_MEMORY;
    if (!connection->local)
        return vix_control_open(connection, path, !disk->writable, &disk->grant, &disk->control);
    memcpy(disk->grant.transport, "file", sizeof "file");
    return (disk->grant.file = strdup(path)) ? VL_OK : VL_NO_MEMORY;
}

static int open_disk(struct vix_disk *disk, const struct vix_connection *connection, const char *path, uint32_t flags)
{
    disk->writable = !connection->read_only && !(flags & VIX_OPEN_READ_ONLY);
    int code = find_file(disk, connection, path);
    if (code)
        return code;
    disk->writable = disk->writable && !disk->grant.read_only;
    unsigned how = (disk->writable ? VL_OPEN_WRITABLE : 0) | (flags & VIX_OPEN_SINGLE_LINK ? VL_OPEN_SINGLE_LINK : 0) |
                   (connection->local ? VL_OPEN_ALLOW_RAW : 0);
    code = vl_chain_open(disk->grant.file, how, &disk->chain);
    if (code)
        return code;
    disk->queue = vix_queue_new(disk, disk->grant.latency_us ? DEPTH_OVER_NETWORK : DEPTH_AT_ONCE);
    return disk->queue ? VL_OK : VL_NO_MEMORY;
}

VIX_API VixError VixDiskLib_Open(VixDiskLibConnection connection, const char *path, uint32_t flags,
                                 VixDiskLibHandle *handle)
{
    uint32_t compression = flags & VIX_OPEN_COMPRESSION;
    if (!handle)
        return VL_INVALID;
    *handle = NULL;
    if (!vix_ready())
        return VIX_NOT_INITIALISED;
    if (!vix_is_connection(connection))
        return VIX_INVALID_CONNECTION;
    if (!path || !*path || (compression & (compression - 1)))
        return VL_INVALID;
    struct vix_disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        return VL_NO_MEMORY;
    disk->magic = MAGIC;
    if (!begin_exclusive()) {
        free(disk);
        return VL_FAIL;
    }
    int code = open_disk(disk, connection, path, flags);
    busy--;
    if (code) {
        vix_warn("VixDiskLib: cannot open %s: error %d", path, code);
        release(disk);
        return (VixError)code;
    }
    enlist(disk);
    *handle = disk;
    vix_log("VixDiskLib: opened %s over %s, %s", path, disk->grant.transport, disk->writable ? "writable" : "read-only");
    return VL_OK;
}

VIX_API VixError VixDiskLib_Close(VixDiskLibHandle disk)
{
    if (!vix_is_disk(disk))
        return disk ? VIX_INVALID_HANDLE : VL_INVALID;
    if (!begin_exclusive())
        return VL_FAIL; /* and the disk stays open */
    strike_off(disk);
    release(disk);
    busy--;
    return VL_OK;
}

void vix_close_all(void)
{
    for (;;) {
        pthread_mutex_lock(&list_lock);
        struct vix_disk *disk = open_disks;
        pthread_mutex_unlock(&list_lock);
        if (!disk)
            return;
        vix_warn("VixDiskLib: a disk was still open at Exit");
        strike_off(disk);
        release(disk);
    }
}

static uint32_t ddb_number(const vl_descriptor *d, const char *key, uint32_t fallback)
{
    char text[24];
    size_t required;
    if (vl_descriptor_ddb(d, key, text, sizeof text, &required) || required > sizeof text)
        return fallback;
    return (uint32_t)strtoul(text, NULL, 10);
}

static int32_t adapter_of(const vl_descriptor *d)
{
    char text[32] = "";
    size_t required;
    if (vl_descriptor_ddb(d, "adapterType", text, sizeof text, &required) || required > sizeof text)
        return VIX_ADAPTER_UNKNOWN;
    return strcasecmp(text, "ide") == 0        ? VIX_ADAPTER_IDE
           : strcasecmp(text, "buslogic") == 0 ? VIX_ADAPTER_BUSLOGIC
           : strcasecmp(text, "lsilogic") == 0 ? VIX_ADAPTER_LSILOGIC
                                               : VIX_ADAPTER_UNKNOWN;
}

VIX_API VixError VixDiskLib_GetInfo(VixDiskLibHandle disk, VixDiskLibInfo **info)
{
    char uuid[128];
    size_t uuid_size = 0;
    if (!vix_is_disk(disk) || !info)
        return disk && info ? VIX_INVALID_HANDLE : VL_INVALID;
    const vl_descriptor *d = vl_chain_descriptor(disk->chain);
    if (vl_descriptor_ddb(d, "uuid", uuid, sizeof uuid, &uuid_size) || uuid_size > sizeof uuid)
        uuid_size = 0;
    size_t hint_size = d->parent_hint ? strlen(d->parent_hint) + 1 : 0;
    VixDiskLibInfo *found = calloc(1, sizeof *found + uuid_size + hint_size);
    if (!found)
        return VL_NO_MEMORY;
    uint64_t cylinders = vl_chain_capacity(disk->chain) / (255 * 63);
    found->physGeo.cylinders = ddb_number(d, "geometry.cylinders", cylinders > UINT32_MAX ? 0 : (uint32_t)cylinders);
    found->physGeo.heads = ddb_number(d, "geometry.heads", 255);
    found->physGeo.sectors = ddb_number(d, "geometry.sectors", 63);
    found->biosGeo.cylinders = ddb_number(d, "geometry.biosCylinders", 0);
    found->biosGeo.heads = ddb_number(d, "geometry.biosHeads", 0);
    found->biosGeo.sectors = ddb_number(d, "geometry.biosSectors", 0);
    found->capacity = vl_chain_capacity(disk->chain);
    found->adapterType = adapter_of(d);
    found->numLinks = vl_chain_links(disk->chain);
    found->logicalSectorSize = found->physicalSectorSize = VL_SECTOR;
    char *at = (char *)(found + 1);
    if (hint_size)
        found->parentFileNameHint = memcpy(at, d->parent_hint, hint_size);
    if (uuid_size)
        found->uuid = memcpy(at + hint_size, uuid, uuid_size);
    *info = found;
    return VL_OK;
}

VIX_API void VixDiskLib_FreeInfo(VixDiskLibInfo *info)
{
    free(info);
}

VIX_API const char *VixDiskLib_GetTransportMode(VixDiskLibHandle disk)
{
    static const char *const modes[] = {"file", "san", "hotadd", "nbdssl", "nbd"};
    for (size_t i = 0; vix_is_disk(disk) && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(disk->grant.transport, modes[i]) == 0)
            return modes[i]; /* a constant: callers keep it beyond Close */
    return NULL;
}
