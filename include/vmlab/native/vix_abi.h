/* The binary interface of VDDK 8's disk library as its callers rely on it: our own declarations.
 *
 * Sizes and offsets are asserted below. 64-bit Linux only.
 */
#ifndef VMLAB_VIX_ABI_H
#define VMLAB_VIX_ABI_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define VIX_API __attribute__((visibility("default")))

typedef uint64_t VixError;
typedef uint64_t VixDiskLibSectorType;
typedef char Bool;
typedef struct vix_connection *VixDiskLibConnection;
typedef struct vix_disk *VixDiskLibHandle;
typedef void VixDiskLibGenericLogFunc(const char *format, va_list arguments);
typedef void (*VixDiskLibCompletionCB)(void *data, VixError result);
typedef Bool (*VixDiskLibProgressFunc)(void *data, int percent);

/* Codes beside those of disk.h. */
enum {
    VIX_BUFFER_TOO_SMALL = 24,
    VIX_NOT_ON_REMOTE = 20,
    VIX_AUTHENTICATION = 35,
    VIX_INVALID_HANDLE = 1000,
    VIX_CONNECTION_REFUSED = 14009,
    VIX_CONNECTION_LOST = 14011,
    VIX_NOT_INITIALISED = 16001,
    VIX_INVALID_CONNECTION = 16054,
    VIX_CANNOT_CONNECT = 18000,
    VIX_ASYNC = 25000,
};

enum { VIX_CRED_UID = 1, VIX_CRED_SESSION = 2 };
enum { VIX_SPEC_VMX = 0, VIX_SPEC_STORAGE_OBJECT = 1, VIX_SPEC_UNKNOWN = 256 };
enum {
    VIX_OPEN_UNBUFFERED = 1,
    VIX_OPEN_SINGLE_LINK = 2,
    VIX_OPEN_READ_ONLY = 4,
    VIX_OPEN_COMPRESSION = 0x3f0,
};
enum {
    VIX_DISK_MONOLITHIC_FLAT = 2,
    VIX_DISK_SPLIT_FLAT = 4,
    VIX_DISK_VMFS_FLAT = 5,
    VIX_DISK_VMFS_THIN = 7,
};
enum { VIX_ADAPTER_IDE = 1, VIX_ADAPTER_BUSLOGIC = 2, VIX_ADAPTER_LSILOGIC = 3, VIX_ADAPTER_UNKNOWN = 256 };
enum { VIX_MIN_CHUNK = 128, VIX_MAX_CHUNK = 131072, VIX_MAX_CHUNKS = 524288 };

typedef struct {
    char *vmxSpec;
    char *serverName;
    char *thumbPrint;
    long privateUse;
    int32_t credType;
    union {
        struct {
            char *userName, *password;
        } uid;
        struct {
            char *cookie, *userName, *key;
        } sessionId;
        void *ticketId;
    } creds;
    uint32_t port, nfcHostPort;
    char *vimApiVer;
    char reserved[8];
    void *state;
    union {
        struct {
            char *id, *datastoreMoRef, *ssId;
        } vStorageObjSpec;
    } spec;
    int32_t specType;
} VixDiskLibConnectParams;

typedef struct {
    uint32_t cylinders, heads, sectors;
} VixDiskLibGeometry;

typedef struct {
    VixDiskLibGeometry biosGeo, physGeo;
    VixDiskLibSectorType capacity;
    int32_t adapterType;
    int32_t numLinks;
    char *parentFileNameHint;
    char *uuid;
    uint32_t logicalSectorSize, physicalSectorSize;
} VixDiskLibInfo;

typedef struct {
    int32_t diskType, adapterType;
    uint16_t hwVersion;
    VixDiskLibSectorType capacity;
    uint32_t logicalSectorSize, physicalSectorSize;
} VixDiskLibCreateParams;

typedef struct {
    VixDiskLibSectorType offset, length;
} VixDiskLibBlock;

typedef struct {
    uint32_t numBlocks;
    VixDiskLibBlock blocks[1];
} VixDiskLibBlockList;

_Static_assert(sizeof(VixDiskLibConnectParams) == 128, "128 bytes since 6.7");
_Static_assert(offsetof(VixDiskLibConnectParams, creds) == 40, "creds");
_Static_assert(offsetof(VixDiskLibConnectParams, port) == 64, "port");
_Static_assert(offsetof(VixDiskLibConnectParams, spec) == 96, "spec");
_Static_assert(offsetof(VixDiskLibConnectParams, specType) == 120, "specType");
_Static_assert(sizeof(VixDiskLibInfo) == 64, "64 bytes since 7.0");
_Static_assert(offsetof(VixDiskLibInfo, logicalSectorSize) == 56, "logicalSectorSize");
_Static_assert(sizeof(VixDiskLibCreateParams) == 32, "32 bytes since 7.0");
_Static_assert(offsetof(VixDiskLibBlockList, blocks) == 8, "blocks");

VIX_API VixError VixDiskLib_Init(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                 VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir);
VIX_API VixError VixDiskLib_InitEx(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                   VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir,
                                   const char *configFile);
VIX_API void VixDiskLib_Exit(void);
VIX_API const char *VixDiskLib_ListTransportModes(void);
VIX_API char *VixDiskLib_GetErrorText(VixError error, const char *locale);
VIX_API void VixDiskLib_FreeErrorText(char *text);

VIX_API VixDiskLibConnectParams *VixDiskLib_AllocateConnectParams(void);
VIX_API void VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *params);
VIX_API VixError VixDiskLib_GetConnectParams(VixDiskLibConnection connection, VixDiskLibConnectParams **params);
VIX_API VixError VixDiskLib_Connect(const VixDiskLibConnectParams *params, VixDiskLibConnection *connection);
VIX_API VixError VixDiskLib_ConnectEx(const VixDiskLibConnectParams *params, Bool readOnly, const char *snapshotRef,
                                      const char *transportModes, VixDiskLibConnection *connection);
VIX_API VixError VixDiskLib_Disconnect(VixDiskLibConnection connection);
VIX_API VixError VixDiskLib_PrepareForAccess(const VixDiskLibConnectParams *params, const char *identity);
VIX_API VixError VixDiskLib_EndAccess(const VixDiskLibConnectParams *params, const char *identity);
VIX_API VixError VixDiskLib_Cleanup(const VixDiskLibConnectParams *params, uint32_t *cleanedUp, uint32_t *remaining);

VIX_API VixError VixDiskLib_Open(VixDiskLibConnection connection, const char *path, uint32_t flags,
                                 VixDiskLibHandle *handle);
VIX_API VixError VixDiskLib_Close(VixDiskLibHandle disk);
VIX_API VixError VixDiskLib_GetInfo(VixDiskLibHandle disk, VixDiskLibInfo **info);
VIX_API void VixDiskLib_FreeInfo(VixDiskLibInfo *info);
VIX_API const char *VixDiskLib_GetTransportMode(VixDiskLibHandle disk);
VIX_API VixError VixDiskLib_Read(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                 uint8_t *buffer);
VIX_API VixError VixDiskLib_Write(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                  const uint8_t *buffer);
VIX_API VixError VixDiskLib_ReadAsync(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                      uint8_t *buffer, VixDiskLibCompletionCB callback, void *data);
VIX_API VixError VixDiskLib_WriteAsync(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                       const uint8_t *buffer, VixDiskLibCompletionCB callback, void *data);
VIX_API VixError VixDiskLib_Flush(VixDiskLibHandle disk);
VIX_API VixError VixDiskLib_Wait(VixDiskLibHandle disk);
VIX_API VixError VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle disk, VixDiskLibSectorType start,
                                                 VixDiskLibSectorType count, VixDiskLibSectorType chunk,
                                                 VixDiskLibBlockList **blocks);
VIX_API VixError VixDiskLib_FreeBlockList(VixDiskLibBlockList *blocks);
VIX_API VixError VixDiskLib_ReadMetadata(VixDiskLibHandle disk, const char *key, char *buffer, size_t size,
                                         size_t *required);
VIX_API VixError VixDiskLib_WriteMetadata(VixDiskLibHandle disk, const char *key, const char *value);
VIX_API VixError VixDiskLib_GetMetadataKeys(VixDiskLibHandle disk, char *keys, size_t size, size_t *required);

VIX_API VixError VixDiskLib_Create(VixDiskLibConnection connection, const char *path,
                                   const VixDiskLibCreateParams *params, VixDiskLibProgressFunc progress, void *data);
VIX_API VixError VixDiskLib_Unlink(VixDiskLibConnection connection, const char *path);
VIX_API VixError VixDiskLib_Grow(VixDiskLibConnection connection, const char *path, VixDiskLibSectorType capacity,
                                 Bool updateGeometry, VixDiskLibProgressFunc progress, void *data);
VIX_API VixError VixDiskLib_Clone(VixDiskLibConnection dstConnection, const char *dstPath,
                                  VixDiskLibConnection srcConnection, const char *srcPath,
                                  const VixDiskLibCreateParams *params, VixDiskLibProgressFunc progress, void *data,
                                  Bool overWrite);
VIX_API VixError VixDiskLib_SpaceNeededForClone(VixDiskLibHandle disk, int32_t diskType, uint64_t *bytes);
VIX_API VixError VixDiskLib_CheckRepair(VixDiskLibConnection connection, const char *path, Bool repair);

#endif
