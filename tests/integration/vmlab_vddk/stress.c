/* Many asynchronous reads and overlapping writes on several handles at once, from as many threads.
 *
 * Linked with the stand-in's sources under a sanitizer by its test. Arguments: the disks' files.
 */
#include "vix_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 64
#define ROUNDS 10
#define PIECE 128u

static _Atomic unsigned completed, failed;
static VixDiskLibConnection connection;
static VixDiskLibHandle disks[16];

static void on_done(void *data, VixError result)
{
    (void)data;
    completed++;
    failed += result != 0;
}

static void submit(VixDiskLibHandle disk, unsigned number, uint8_t *buffer)
{
    VixDiskLibSectorType start = number * 37 % 1900;
    VixError code = number % 3 ? VixDiskLib_ReadAsync(disk, start, PIECE, buffer, on_done, NULL)
                               : VixDiskLib_WriteAsync(disk, start, PIECE, buffer, on_done, NULL);
    failed += code != VIX_ASYNC;
}

static void *use(void *place)
{
    VixDiskLibHandle disk = *(VixDiskLibHandle *)place;
    VixDiskLibBlockList *blocks;
    uint8_t *buffers = calloc(DEPTH, PIECE * 512);
    if (!buffers) {
        failed++;
        return NULL;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < DEPTH; i++)
            submit(disk, i, buffers + i * PIECE * 512);
        failed += VixDiskLib_QueryAllocatedBlocks(disk, 0, 2048, 128, &blocks) != 0;
        VixDiskLib_FreeBlockList(blocks);
        failed += VixDiskLib_Wait(disk) != 0;
        failed += VixDiskLib_Flush(disk) != 0;
    }
    free(buffers);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[16];
    if (argc > 16 || VixDiskLib_InitEx(8, 0, NULL, NULL, NULL, NULL, NULL) || VixDiskLib_Connect(NULL, &connection))
        return 2;
    for (int i = 1; i < argc; i++) /* on this thread, as opens and closes have to be */
        if (VixDiskLib_Open(connection, argv[i], 0, &disks[i]) || pthread_create(&threads[i], NULL, use, &disks[i]))
            return 2;
    for (int i = 1; i < argc; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < argc; i++)
        failed += VixDiskLib_Close(disks[i]) != 0;
    VixDiskLib_Disconnect(connection);
    VixDiskLib_Exit();
    printf("%u completed, %u failed\n", completed, failed);
    return failed || completed != (unsigned)(argc - 1) * DEPTH * ROUNDS;
}
