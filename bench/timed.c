/*
 * Runs a program and says what it took, when it and all the children it waited for are gone.
 *
 *   timed FD PROGRAM [ARGUMENT …]      writes "wall user system peak-KiB" to FD; exits as the program did
 *
 * Small on purpose: the kernel counts the memory of whoever starts a program as the program's own peak.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    double started = now();
    pid_t child = fork();
    if (child < 0)
        return 2;
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(atoi(argv[1]));
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) < 0)
        return 2;
    dprintf(atoi(argv[1]), "%.6f %.6f %.6f %ld\n", now() - started, seconds(usage.ru_utime), seconds(usage.ru_stime),
            usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
