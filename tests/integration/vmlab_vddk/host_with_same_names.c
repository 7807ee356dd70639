/* A host that exports variables called like VDDK's functions, as a badly linked plugin does.
 *
 * The library's calls to itself must not end here. Argument: the library's file.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#define POISON(name) __attribute__((visibility("default"))) void *VixDiskLib_##name = (void *)1
POISON(InitEx);
POISON(ConnectEx);
POISON(Read);
POISON(Close);
POISON(FreeInfo);

typedef uint64_t init_function(uint32_t, uint32_t, void *, void *, void *, const char *);
typedef uint64_t connect_function(const void *, void **);
typedef uint64_t disconnect_function(void *);
typedef void exit_function(void);

int main(int argc, char **argv)
{
    void *connection = NULL;
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    if (!library)
        return 2;
    init_function *init = (init_function *)(uintptr_t)dlsym(library, "VixDiskLib_Init");
    connect_function *connect = (connect_function *)(uintptr_t)dlsym(library, "VixDiskLib_Connect");
    disconnect_function *disconnect = (disconnect_function *)(uintptr_t)dlsym(library, "VixDiskLib_Disconnect");
    exit_function *leave = (exit_function *)(uintptr_t)dlsym(library, "VixDiskLib_Exit");
    if (init(6, 5, NULL, NULL, NULL, NULL) || connect(NULL, &connection) || !connection || disconnect(connection))
        return 1;
    leave();
    dlclose(library); /* straight after Exit, as hosts do */
    puts("well");
    return 0;
}
