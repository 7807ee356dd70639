/* Error texts. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int code;
    const char *text;
} texts[] = {
    {VL_OK, "The operation was successful"},
    {VL_FAIL, "Unknown error"},
    {VL_NO_MEMORY, "Memory allocation failed. Out of memory"},
    {VL_INVALID, "One of the parameters was invalid"},
    {VL_NOT_FOUND, "A file was not found"},
    {5, "This function cannot be performed because the handle is executing another function"},
    {VL_UNSUPPORTED, "The operation is not supported"},
    {VL_FILE_ERROR, "A file access error occurred on the host or guest operating system"},
    {VL_DISK_FULL, "An error occurred while writing a file; the disk is full"},
    {VL_WRONG_TYPE, "A file was not of the expected type"},
    {10, "The operation was canceled"},
    {VL_READ_ONLY, "The file is read-only"},
    {VL_EXISTS, "The file already exists"},
    {VL_NO_ACCESS, "You do not have access rights to this file"},
    {VL_LOCKED, "The file is already in use"},
    {VIX_NOT_ON_REMOTE, "The command is not supported for remote objects"},
    {VL_TOO_BIG, "The file is too big for the file system"},
    {22, "The file name is not valid"},
    {VIX_BUFFER_TOO_SMALL, "The buffer is too small"},
    {VIX_AUTHENTICATION, "The authentication failed"},
    {VIX_INVALID_HANDLE, "The handle is not a valid one"},
    {3014, "Insufficient permissions in the host operating system"},
    {4000, "The virtual machine cannot be found"},
    {13003, "The snapshot was not found"},
    {VIX_CONNECTION_REFUSED, "The server refused the connection"},
    {VIX_CONNECTION_LOST, "The TCP connection to the server was lost"},
    {14014, "The server is entering maintenance mode"},
    {14015, "The server is in maintenance mode"},
    {VL_BAD_DISK, "The disk is not valid or is damaged"},
    {VIX_NOT_INITIALISED, "The disk library has not been initialized"},
    {VL_IO, "An input/output error occurred on the disk"},
    {VL_PARTIAL_CHAIN, "One of the parents of this disk could not be opened"},
    {VL_OUT_OF_RANGE, "The requested sectors lie beyond the end of the disk"},
    {VL_CONTENT_ID_MISMATCH, "The parent of this disk has been modified since the child was created"},
    {VL_TOO_MANY_FILES, "Too many files are open"},
    {VL_BAD_CHAIN, "The disk chain is not valid"},
    {VL_NO_SUCH_KEY, "The metadata key was not found"},
    {VIX_INVALID_CONNECTION, "The connection is not valid"},
    {VIX_CANNOT_CONNECT, "Cannot connect to the host"},
    {16064, "Host is not licensed for this feature"},
    {VIX_ASYNC, "The asynchronous operation was accepted"},
};

VIX_API char *VixDiskLib_GetErrorText(VixError error, const char *locale)
{
    int code = (int)(error & 0xffff);
    char *text = NULL;
    if (locale)
        return NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].code == code)
            return strdup(texts[i].text);
    return asprintf(&text, "Error %d", code) < 0 ? NULL : text;
}

VIX_API void VixDiskLib_FreeErrorText(char *text)
{
    free(text);
}
