/* Disk metadata: the disk database of the top link's descriptor, and the entries that the host adds. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *granted(const vix_grant *grant, const char *key)
{
    for (size_t at = 0; at < grant->metadata_length;) {
        const char *name = grant->metadata + at, *value = name + strlen(name) + 1;
        if (strcasecmp(name, key) == 0)
            return value;
        at += strlen(name) + strlen(value) + 2;
    }
    return NULL;
}

static int answer(const char *value, char *buffer, size_t size, size_t *required)
{
    size_t needed = strlen(value) + 1;
    if (required)
        *required = needed;
    if (!buffer || size < needed)
        return VIX_BUFFER_TOO_SMALL;
    memcpy(buffer, value, needed);
    return VL_OK;
}

/* Read anew each time, because WriteMetadata and the content ID change the file under an open handle. */
static int load(VixDiskLibHandle disk, vl_descriptor **d)
{
    const vl_descriptor *opened = vl_chain_descriptor(disk->chain);
    int code = vl_descriptor_load(opened->path, d);
    return code == VL_WRONG_TYPE ? VL_NO_SUCH_KEY : code; /* a plain file has no metadata */
}

VIX_API VixError VixDiskLib_ReadMetadata(VixDiskLibHandle disk, const char *key, char *buffer, size_t size,
                                         size_t *required)
{
    vl_descriptor *d;
    size_t needed;
    if (!vix_is_disk(disk) || !key)
        return disk && key ? VIX_INVALID_HANDLE : VL_INVALID;
    const char *extra = granted(&disk->grant, key);
    if (extra)
        return (VixError)answer(extra, buffer, size, required);
    int code = load(disk, &d);
    if (code)
        return (VixError)code;
    code = vl_descriptor_ddb(d, key, buffer, size, &needed);
    if (!code && required)
        *required = needed;
    if (!code && (!buffer || size < needed))
        code = VIX_BUFFER_TOO_SMALL;
    vl_descriptor_free(d);
    return (VixError)code;
}

static bool usable_key(const char *key)
{
    for (const char *p = key; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return *key != 0;
}

VIX_API VixError VixDiskLib_WriteMetadata(VixDiskLibHandle disk, const char *key, const char *value)
{
    char *name = NULL;
    if (!vix_is_disk(disk) || !key || !value)
        return disk && key && value ? VIX_INVALID_HANDLE : VL_INVALID;
    if (!disk->writable)
        return VL_READ_ONLY;
    if (!usable_key(key))
        return VL_INVALID;
    if (asprintf(&name, "ddb.%s", key) < 0)
        return VL_NO_MEMORY;
    int code = vl_descriptor_set(vl_chain_descriptor(disk->chain)->path, NULL, name, value, true);
    free(name);
    return (VixError)(code == VL_WRONG_TYPE ? VL_UNSUPPORTED : code);
}

static size_t add_granted_keys(const vix_grant *grant, char *keys, size_t used)
{
    for (size_t at = 0; at < grant->metadata_length;) {
        const char *name = grant->metadata + at;
        size_t length = strlen(name) + 1;
        if (keys)
            memcpy(keys + used, name, length);
        used += length;
        at += length + strlen(name + length) + 1;
    }
    return used;
}

VIX_API VixError VixDiskLib_GetMetadataKeys(VixDiskLibHandle disk, char *keys, size_t size, size_t *required)
{
    vl_descriptor *d;
    size_t own;
    if (!vix_is_disk(disk))
        return disk ? VIX_INVALID_HANDLE : VL_INVALID;
    int code = load(disk, &d);
    if (code && code != VL_NO_SUCH_KEY)
        return (VixError)code;
    bool described = code == VL_OK;
    own = 1;
    if (described)
        (void)vl_descriptor_ddb_keys(d, NULL, 0, &own);
    size_t needed = add_granted_keys(&disk->grant, NULL, own - 1) + 1;
    code = keys && size >= needed ? VL_OK : VIX_BUFFER_TOO_SMALL;
    if (!code) {
        if (described)
            (void)vl_descriptor_ddb_keys(d, keys, size, &own);
        keys[add_granted_keys(&disk->grant, keys, own - 1)] = 0;
    }
    if (required)
        *required = needed;
    if (described)
        vl_descriptor_free(d);
    return (VixError)code;
}
