/* Making and removing links: flat bases, raw device maps, sparse children. */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPLIT_SECTORS UINT64_C(4192256) /* 2 GB pieces as Workstation cuts them */
#define DELTA_SECTORS (UINT64_C(1) << 31) /* 1 TiB: tables and data stay below the 32-bit sector numbers of COWD */
#define WHOLE_DELTA_SECTORS UINT64_C(4261412864) /* the largest disk whose delta can be one file */
#define DATABASE "# The Disk Data Base"
#define EXTENTS "# Extent description"

typedef struct {
    const char *create_type, *extent_lines, *adapter, *uuid, *parent_hint;
    uint32_t content_id, parent_content_id;
    uint64_t sectors;
    unsigned hw_version;
    bool thin;
} description;

static int write_descriptor(const char *path, const description *d)
{
    char *text = NULL;
    size_t size = 0;
    uint64_t cylinders = d->sectors / (255 * 63);
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return VL_NO_MEMORY;
    fprintf(out, "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08" PRIx32 "\nparentCID=%08" PRIx32 "\n",
            d->content_id, d->parent_content_id);
    fprintf(out, "createType=\"%s\"\n", d->create_type);
    if (d->parent_hint)
        fprintf(out, "parentFileNameHint=\"%s\"\n", d->parent_hint);
    fprintf(out, EXTENTS "\n%s\n" DATABASE "\n#DDB\n\n", d->extent_lines);
    fprintf(out, "ddb.adapterType = \"%s\"\n", d->adapter);
    if (!d->parent_hint)
        fprintf(out,
                "ddb.geometry.cylinders = \"%" PRIu64 "\"\nddb.geometry.heads = \"255\"\n"
                "ddb.geometry.sectors = \"63\"\n",
                cylinders ? cylinders : 1);
    if (d->thin)
        fputs("ddb.thinProvisioned = \"1\"\n", out);
    if (d->uuid && d->uuid[0])
        fprintf(out, "ddb.uuid = \"%s\"\n", d->uuid);
    fprintf(out, "ddb.virtualHWVersion = \"%u\"\n", d->hw_version);
    if (fclose(out) != 0)
        return VL_NO_MEMORY;
    int code = vl_write_file(path, text, size, false);
    free(text);
    return code;
}

static int make_data_file(const char *path, uint64_t sectors, bool thin)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return vl_from_errno(errno);
    off_t bytes = (off_t)(sectors * VL_SECTOR);
    int error = 0;
    if (ftruncate(fd, bytes) < 0)
        error = errno;
    else if (!thin)
        error = posix_fallocate(fd, 0, bytes);
    close(fd);
    if (error)
        unlink(path);
    return error ? vl_from_errno(error) : VL_OK;
}

static int make_piece(const char *path, const char *name, uint64_t sectors, bool thin)
{
    char *file = vl_sibling(path, name);
    int code = file ? make_data_file(file, sectors, thin) : VL_NO_MEMORY;
    free(file);
    return code;
}

/* Makes the data file or files and writes their descriptor lines to `out`. */
static int make_pieces(const char *path, const char *create_type, uint64_t sectors, bool thin, FILE *out)
{
    bool split = strcmp(create_type, "twoGbMaxExtentFlat") == 0;
    const char *kind = strcmp(create_type, "vmfs") == 0 ? "VMFS" : "FLAT";
    char *stem = vl_stem(path), *name = NULL;
    int code = stem ? VL_OK : VL_NO_MEMORY;
    unsigned number = 0;
    for (uint64_t at = 0; !code && at < sectors;) {
        uint64_t piece = split && sectors - at > SPLIT_SECTORS ? SPLIT_SECTORS : sectors - at;
        int made = split ? asprintf(&name, "%s-f%03u.vmdk", stem, ++number) : asprintf(&name, "%s-flat.vmdk", stem);
        code = made < 0 ? VL_NO_MEMORY : make_piece(path, name, piece, thin);
        if (!code)
            fprintf(out, "RW %" PRIu64 " %s \"%s\"%s\n", piece, kind, name, *kind == 'F' ? " 0" : "");
        if (made >= 0)
            free(name);
        at += piece;
    }
    free(stem);
    return code;
}

static bool usable_name(const char *path)
{
    return !strpbrk(path, "\"\r\n");
}

int vl_create_flat(const char *path, const char *create_type, const char *adapter, const char *uuid, uint64_t sectors,
                   unsigned hw_version, bool thin)
{
    char *lines = NULL;
    size_t size = 0;
    if (sectors == 0 || sectors >> 46 || !usable_name(path) || (uuid && !usable_name(uuid)) || !usable_name(adapter))
        return VL_INVALID;
    if (access(path, F_OK) == 0)
        return VL_EXISTS;
    FILE *out = open_memstream(&lines, &size);
    if (!out)
        return VL_NO_MEMORY;
    int code = make_pieces(path, create_type, sectors, thin, out);
    if (fclose(out) != 0 && !code)
        code = VL_NO_MEMORY;
    description d = {.create_type = create_type, .extent_lines = lines, .adapter = adapter, .uuid = uuid,
                     .content_id = vl_new_content_id(0), .parent_content_id = VL_NO_PARENT, .sectors = sectors,
                     .hw_version = hw_version, .thin = thin};
    if (!code)
        code = write_descriptor(path, &d);
    free(lines);
    return code;
}

int vl_create_raw_map(const char *path, const char *create_type, const char *target, const char *adapter,
                      const char *uuid, uint64_t sectors)
{
    char *line = NULL;
    if (sectors == 0 || !usable_name(path) || !usable_name(target) || (uuid && !usable_name(uuid)))
        return VL_INVALID;
    if (asprintf(&line, "RW %" PRIu64 " VMFSRDM \"%s\"\n", sectors, target) < 0)
        return VL_NO_MEMORY;
    description d = {.create_type = create_type, .extent_lines = line, .adapter = adapter, .uuid = uuid,
                     .content_id = vl_new_content_id(0), .parent_content_id = VL_NO_PARENT, .sectors = sectors,
                     .hw_version = 19};
    int code = write_descriptor(path, &d);
    free(line);
    return code;
}

static bool same_folder(const char *a, const char *b)
{
    const char *end_a = strrchr(a, '/'), *end_b = strrchr(b, '/');
    size_t length = end_a ? (size_t)(end_a - a) : 0;
    return length == (end_b ? (size_t)(end_b - b) : 0) && strncmp(a, b, length) == 0;
}

/* Makes one delta file, or several where the numbers in one cannot address the disk, and their descriptor lines. */
static int make_deltas(const char *child_path, const vl_descriptor *parent, FILE *lines)
{
    bool cut = parent->capacity > WHOLE_DELTA_SECTORS;
    char *stem = vl_stem(child_path), *name = NULL;
    int code = stem ? VL_OK : VL_NO_MEMORY;
    unsigned number = 0;
    for (uint64_t at = 0; !code && at < parent->capacity;) {
        uint64_t left = parent->capacity - at, piece = cut && left > DELTA_SECTORS ? DELTA_SECTORS : left;
        int made = cut ? asprintf(&name, "%s-delta-s%03u.vmdk", stem, ++number) : asprintf(&name, "%s-delta.vmdk", stem);
        char *file = made < 0 ? NULL : vl_sibling(child_path, name);
        code = file ? vl_cowd_create(file, piece, parent->path) : VL_NO_MEMORY;
        if (!code)
            fprintf(lines, "RW %" PRIu64 " VMFSSPARSE \"%s\"\n", piece, name);
        free(file);
        if (made >= 0)
            free(name);
        at += piece;
    }
    free(stem);
    return code;
}

static int describe_child(const vl_descriptor *parent, const char *child_path, const char *lines)
{
    char adapter[64] = "lsilogic", uuid[128] = "";
    size_t required;
    const char *slash = strrchr(parent->path, '/');
    bool near = slash && same_folder(parent->path, child_path);
    (void)vl_descriptor_ddb(parent, "adapterType", adapter, sizeof adapter, &required);
    (void)vl_descriptor_ddb(parent, "uuid", uuid, sizeof uuid, &required);
    description d = {.create_type = "vmfsSparse", .extent_lines = lines, .adapter = adapter, .uuid = uuid,
                     .parent_hint = near ? slash + 1 : parent->path, .content_id = parent->content_id,
                     .parent_content_id = parent->content_id, .sectors = parent->capacity, .hw_version = 19};
    return write_descriptor(child_path, &d);
}

int vl_create_child(const char *parent_path, const char *child_path)
{
    vl_descriptor *parent;
    char *lines = NULL;
    size_t size = 0;
    int code = vl_descriptor_load(parent_path, &parent);
    if (!code && (access(child_path, F_OK) == 0 || !usable_name(child_path)))
        code = VL_EXISTS;
    if (!code && strcasecmp(parent->create_type, "vmfsPassthroughRawDeviceMap") == 0)
        code = VL_UNSUPPORTED; /* a physical-mode RDM cannot be in a snapshot */
    FILE *out = code ? NULL : open_memstream(&lines, &size);
    if (!code)
        code = out ? make_deltas(child_path, parent, out) : VL_NO_MEMORY;
    if (out && fclose(out) != 0 && !code)
        code = VL_NO_MEMORY;
    if (!code)
        code = describe_child(parent, child_path, lines);
    free(lines);
    vl_descriptor_free(parent);
    return code;
}

int vl_extend_flat(const char *path, uint64_t sectors)
{
    vl_descriptor *d;
    char *was = NULL, *file = NULL, *text = NULL;
    int code = vl_descriptor_load(path, &d);
    if (code)
        return code;
    if (d->extent_count != 1 || d->extents[0].kind != VL_FLAT || d->parent_content_id != VL_NO_PARENT)
        code = VL_UNSUPPORTED;
    else if (sectors < d->capacity || sectors >> 46)
        code = VL_INVALID;
    else if (asprintf(&was, "RW %" PRIu64 " ", d->capacity) < 0 || !(file = vl_sibling(path, d->extents[0].file)))
        code = VL_NO_MEMORY;
    char *at = code ? NULL : strstr(d->text, was);
    if (!code && (!at || truncate(file, (off_t)(sectors * VL_SECTOR)) < 0))
        code = at ? vl_from_errno(errno) : VL_BAD_DISK;
    if (!code &&
        asprintf(&text, "%.*sRW %" PRIu64 " %s", (int)(at - d->text), d->text, sectors, at + strlen(was)) < 0)
        code = VL_NO_MEMORY;
    if (!code)
        code = vl_write_file(path, text, strlen(text), true);
    free(was);
    free(file);
    free(text);
    vl_descriptor_free(d);
    return code;
}

static void remove_sibling(const char *path, const char *name)
{
    char *file = vl_sibling(path, name);
    if (file)
        unlink(file);
    free(file);
}

/* The descriptor goes first, because files without one are garbage, and one without files is a broken disk. */
int vl_remove(const char *path)
{
    vl_descriptor *d;
    int code = vl_descriptor_load(path, &d);
    if (code)
        return code;
    if (unlink(path) < 0)
        code = vl_from_errno(errno);
    bool mapped = strcasestr(d->create_type, "RawDeviceMap") != NULL; /* a LUN outlives its mapping file */
    for (size_t i = 0; !code && !mapped && i < d->extent_count; i++)
        if (d->extents[i].file)
            remove_sibling(path, d->extents[i].file);
    if (!code && d->track_path)
        remove_sibling(path, d->track_path);
    vl_descriptor_free(d);
    return code;
}

int vl_set_entry(const char *path, const char *section, const char *name, const char *value, int quoted)
{
    return vl_descriptor_set(path, section, name, value, quoted != 0);
}
