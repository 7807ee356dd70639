/* Connections: credentials and choices kept for Open. Like the real library of 8.0.2, ConnectEx logs in already. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC UINT32_C(0x564c434e)

bool vix_is_connection(const struct vix_connection *connection)
{
    return connection && connection->magic == MAGIC;
}

VIX_API VixDiskLibConnectParams *VixDiskLib_AllocateConnectParams(void)
{
    VixDiskLibConnectParams *params = calloc(1, sizeof *params);
    if (params)
        params->specType = VIX_SPEC_UNKNOWN; /* the caller has to say which member of the union holds */
    return params;
}

VIX_API void VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *params)
{
    free(params); /* strings stay their owner's; those of GetConnectParams share this allocation */
}

static bool keep(char **slot, const char *text)
{
    *slot = text ? strdup(text) : NULL;
    return *slot || !text;
}

static void release(struct vix_connection *c)
{
    char *strings[] = {c->vmx_spec, c->server, c->thumbprint, c->user, c->password, c->cookie, c->snapshot_ref,
                       c->transports};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (strings[i])
            explicit_bzero(strings[i], strlen(strings[i]));
        free(strings[i]);
    }
    c->magic = 0;
    free(c);
}

static bool keep_credentials(struct vix_connection *c, const VixDiskLibConnectParams *p)
{
    if (p->credType == VIX_CRED_UID)
        return keep(&c->user, p->creds.uid.userName) && keep(&c->password, p->creds.uid.password);
    if (p->credType == VIX_CRED_SESSION)
        return keep(&c->cookie, p->creds.sessionId.cookie) && keep(&c->user, p->creds.sessionId.userName) &&
               keep(&c->password, p->creds.sessionId.key);
    return true;
}

static bool is_set(const char *text)
{
    return text && *text;
}

VIX_API VixError VixDiskLib_ConnectEx(const VixDiskLibConnectParams *params, Bool readOnly, const char *snapshotRef,
                                      const char *transportModes, VixDiskLibConnection *connection)
{
    static const VixDiskLibConnectParams nothing;
    const VixDiskLibConnectParams *p = params ? params : &nothing;
    if (!connection)
        return VL_INVALID;
    *connection = NULL;
    if (!vix_ready())
        return VIX_NOT_INITIALISED;
    if (p->specType != VIX_SPEC_VMX && p->specType != VIX_SPEC_UNKNOWN) /* first-class disks: not in this lab */
        return VL_UNSUPPORTED;
    bool local = !is_set(p->serverName) && !is_set(p->vmxSpec);
    if (!local && p->specType != VIX_SPEC_VMX)
        return VL_INVALID;
    if (!local && (!is_set(p->serverName) || (p->credType != VIX_CRED_UID && p->credType != VIX_CRED_SESSION)))
        return VL_INVALID;
    struct vix_connection *c = calloc(1, sizeof *c);
    if (!c)
        return VL_NO_MEMORY;
    c->magic = MAGIC;
    c->local = local;
    c->read_only = readOnly != 0;
    c->params = *p;
    if (!keep(&c->vmx_spec, p->vmxSpec) || !keep(&c->server, p->serverName) || !keep(&c->thumbprint, p->thumbPrint) ||
        !keep(&c->snapshot_ref, snapshotRef) || !keep(&c->transports, transportModes) || !keep_credentials(c, p)) {
        release(c);
        return VL_NO_MEMORY;
    }
    int code = local ? VL_OK : vix_control_call("connect", c, NULL);
    if (code) {
        release(c);
        return (VixError)code;
    }
    *connection = c;
    vix_log("VixDiskLib: connection to %s, vm %s, snapshot %s, transports %s", local ? "this machine" : c->server,
            c->vmx_spec ? c->vmx_spec : "-", c->snapshot_ref ? c->snapshot_ref : "-",
            c->transports ? c->transports : "by default");
    return VL_OK;
}

VIX_API VixError VixDiskLib_Connect(const VixDiskLibConnectParams *params, VixDiskLibConnection *connection)
{
    return VixDiskLib_ConnectEx(params, 0, NULL, NULL, connection);
}

VIX_API VixError VixDiskLib_Disconnect(VixDiskLibConnection connection)
{
    if (!vix_is_connection(connection))
        return connection ? VIX_INVALID_CONNECTION : VL_INVALID;
    release(connection);
    return VL_OK;
}

static char *append(char **at, const char *text)
{
    char *copy = *at;
    if (!text)
        return NULL;
    *at = stpcpy(copy, text) + 1;
    return copy;
}

static size_t room(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

VIX_API VixError VixDiskLib_GetConnectParams(VixDiskLibConnection connection, VixDiskLibConnectParams **params)
{
    if (!vix_is_connection(connection) || !params)
        return VL_INVALID;
    const struct vix_connection *c = connection;
    VixDiskLibConnectParams *p = calloc(1, sizeof *p + room(c->vmx_spec) + room(c->server) + room(c->thumbprint) +
                                               room(c->user) + room(c->password) + room(c->cookie));
    if (!p)
        return VL_NO_MEMORY;
    char *at = (char *)(p + 1);
    p->vmxSpec = append(&at, c->vmx_spec);
    p->serverName = append(&at, c->server);
    p->thumbPrint = append(&at, c->thumbprint);
    p->credType = c->params.credType;
    p->port = c->params.port;
    p->nfcHostPort = c->params.nfcHostPort;
    p->specType = c->params.specType;
    if (p->credType == VIX_CRED_SESSION) {
        p->creds.sessionId.cookie = append(&at, c->cookie);
        p->creds.sessionId.userName = append(&at, c->user);
        p->creds.sessionId.key = append(&at, c->password);
    } else {
        p->creds.uid.userName = append(&at, c->user);
        p->creds.uid.password = append(&at, c->password);
    }
    *params = p;
    return VL_OK;
}

#define IDENTITY_LIMIT 50 /* characters, says the guide; the strictest reading: bytes, and a longer one is refused */

static VixError call_for_access(const char *operation, const VixDiskLibConnectParams *params, const char *identity)
{
    if (!vix_ready())
        return VIX_NOT_INITIALISED;
    if (!params || !is_set(params->serverName) || !is_set(params->vmxSpec) || !is_set(identity))
        return VL_INVALID;
    if (params->specType != VIX_SPEC_VMX)
        return VL_INVALID;
    if (strlen(identity) > IDENTITY_LIMIT) {
        vix_warn("VixDiskLib: an identity has at most %d characters, and this one %zu", IDENTITY_LIMIT,
                 strlen(identity));
        return VL_INVALID;
    }
    struct vix_connection *c = calloc(1, sizeof *c);
    if (!c)
        return VL_NO_MEMORY;
    int code = VL_NO_MEMORY;
    if (keep(&c->vmx_spec, params->vmxSpec) && keep(&c->thumbprint, params->thumbPrint) && keep_credentials(c, params))
        code = vix_control_call(operation, c, identity);
    release(c);
    return (VixError)code;
}

VIX_API VixError VixDiskLib_PrepareForAccess(const VixDiskLibConnectParams *params, const char *identity)
{
    return call_for_access("prepare", params, identity);
}

VIX_API VixError VixDiskLib_EndAccess(const VixDiskLibConnectParams *params, const char *identity)
{
    return call_for_access("end", params, identity);
}

/* Nothing is ever left over, because the lab hot-adds nothing. */
VIX_API VixError VixDiskLib_Cleanup(const VixDiskLibConnectParams *params, uint32_t *cleanedUp, uint32_t *remaining)
{
    if (!vix_ready())
        return VIX_NOT_INITIALISED;
    if (!params)
        return VL_INVALID;
    if (cleanedUp)
        *cleanedUp = 0;
    if (remaining)
        *remaining = 0;
    return VL_OK;
}
