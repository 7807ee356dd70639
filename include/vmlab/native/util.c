/* Small helpers of the disk core: whole reads and writes, file names, content IDs. */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int vl_from_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return VL_NOT_FOUND;
    case EACCES:
    case EPERM:
        return VL_NO_ACCESS;
    case EROFS:
        return VL_READ_ONLY;
    case EEXIST:
        return VL_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return VL_DISK_FULL;
    case ENOMEM:
        return VL_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return VL_TOO_MANY_FILES;
    case EFBIG:
        return VL_TOO_BIG;
    default:
        return VL_FILE_ERROR;
    }
}

char *vl_sibling(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash && name[0] != '/' ? (size_t)(slash - path) + 1 : 0;
    char *joined = malloc(folder + strlen(name) + 1);
    if (!joined)
        return NULL;
    memcpy(joined, path, folder);
    strcpy(joined + folder, name);
    return joined;
}

char *vl_stem(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".vmdk") == 0)
        length -= 5;
    return strndup(name, length);
}

int vl_pread_all(int fd, uint8_t *data, uint64_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        ssize_t got = pread(fd, data, bytes > (1u << 30) ? (1u << 30) : bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return VL_IO;
        data += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return VL_OK;
}

int vl_pwrite_all(int fd, const uint8_t *data, uint64_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        ssize_t put = pwrite(fd, data, bytes > (1u << 30) ? (1u << 30) : bytes, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == ENOSPC || errno == EDQUOT ? VL_DISK_FULL : VL_IO;
        data += put;
        offset += (uint64_t)put;
        bytes -= (uint64_t)put;
    }
    return VL_OK;
}

int vl_read_file(const char *path, size_t limit, char **text, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return vl_from_errno(errno);
    struct stat st;
    int code = VL_OK;
    *text = NULL;
    if (fstat(fd, &st) < 0)
        code = vl_from_errno(errno);
    else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > limit)
        code = VL_WRONG_TYPE;
    else if (!(*text = malloc((size_t)st.st_size + 1)))
        code = VL_NO_MEMORY;
    else
        code = vl_pread_all(fd, (uint8_t *)*text, (uint64_t)st.st_size, 0);
    close(fd);
    if (code) {
        free(*text);
        *text = NULL;
        return code;
    }
    *length = (size_t)st.st_size;
    (*text)[*length] = 0;
    return VL_OK;
}

/* A reader sees the old text or the new one, never a mixture: write beside, then rename.
 * Not synced, because the lab promises for its descriptors only that they survive a killed process. */
int vl_write_file(const char *path, const char *text, size_t length, bool replace)
{
    char *beside = NULL;
    if (asprintf(&beside, "%s.%d.tmp", path, (int)getpid()) < 0)
        return VL_NO_MEMORY;
    int fd = open(replace ? beside : path, O_WRONLY | O_CREAT | O_CLOEXEC | (replace ? O_TRUNC : O_EXCL), 0644);
    int code = fd < 0 ? vl_from_errno(errno) : vl_pwrite_all(fd, (const uint8_t *)text, length, 0);
    if (fd >= 0)
        close(fd);
    if (!code && replace && rename(beside, path) < 0)
        code = vl_from_errno(errno);
    if (code && fd >= 0)
        unlink(replace ? beside : path);
    free(beside);
    return code;
}

uint32_t vl_new_content_id(uint32_t not_this)
{
    uint32_t id = 0;
    do {
        if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id) {
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            id = (uint32_t)now.tv_nsec * UINT32_C(2654435761) ^ (uint32_t)getpid();
        }
    } while (id == not_this || id == 0 || id >= UINT32_C(0xfffffffe));
    return id;
}
