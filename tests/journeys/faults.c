/* Loaded before libc into every process of a command under test: counts the calls that change what
 * is below one folder, in all of these processes together, and lets one of them fail, or end it.
 *
 * WIMSMITH_FAULT_ROOT is that folder, WIMSMITH_FAULT_CONTROL a file with one `struct control`,
 * which the test fills in and reads; faults.py knows its layout. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    WRITE, PWRITE, COPY, TRUNCATE, ALLOCATE, SYNC, CREATE, MKDIR, RENAME, LINK, SYMLINK, UNLINK,
    KINDS
};
enum mode { COUNT, FAIL, CRASH, KILL, SIGNAL };

struct control {
    int mode, kind, number, code, main_pid, hit, hit_pid, counts[KINDS];
    char path[256];
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void start(void) {
    const char *file = getenv("WIMSMITH_FAULT_CONTROL"), *folder = getenv("WIMSMITH_FAULT_ROOT");
    if (!file || !folder)
        return;
    int descriptor = open(file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *place = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (place == MAP_FAILED)
        return;
    root_length = (size_t)snprintf(root, sizeof root, "%s", folder);
    control = place;
}

static int is_below(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static ssize_t path_of(int descriptor, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, descriptor == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
             descriptor);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return length;
}

/* Whether this call is to fail; then errno is set. */
static int fails(enum kind kind, const char *path) {
    int number = __atomic_add_fetch(&control->counts[kind], 1, __ATOMIC_SEQ_CST);
    int mode = control->mode;
    if (mode == COUNT || control->kind != (int)kind || control->number != number)
        return 0;
    if (mode == CRASH && getpid() == control->main_pid)
        return 0;
    snprintf(control->path, sizeof control->path, "%s", path + root_length);
    control->hit_pid = getpid();
    control->hit = 1;
    if (getpid() != control->main_pid) {
        /* A confined worker can signal nobody; the server does it, and kills this process, too. */
        while (mode == KILL)
            pause();
        if (mode == SIGNAL)
            return 0;
    }
    if (mode == SIGNAL) {
        kill(getpid(), control->code);
        return 0;
    }
    if (mode == KILL || mode == CRASH)
        kill(getpid(), SIGKILL);
    errno = control->code;
    return 1;
}

static int fails_at(enum kind kind, int descriptor) {
    char path[PATH_MAX];
    int saved = errno, failed = 0;
    if (control && path_of(descriptor, path, sizeof path) > 0 && is_below(path))
        failed = fails(kind, path);
    if (!failed)
        errno = saved;
    return failed;
}

static int fails_on(enum kind kind, int folder, const char *name) {
    char path[2 * PATH_MAX];
    int saved = errno, failed = 0;
    if (!control)
        return 0;
    if (name[0] == '/') {
        snprintf(path, sizeof path, "%s", name);
    } else {
        ssize_t length = path_of(folder, path, PATH_MAX);
        snprintf(path + (length < 0 ? 0 : length), PATH_MAX, "/%s", name);
    }
    if (is_below(path))
        failed = fails(kind, path);
    if (!failed)
        errno = saved;
    return failed;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FILE(kind, result, name, parameters, ...)                                               \
    result name parameters {                                                                       \
        static result(*next) parameters;                                                           \
        if (!next)                                                                                 \
            next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                  \
        return fails_at(kind, file) ? -1 : next(__VA_ARGS__);                                      \
    }
#define ON_PATH(kind, folder, path, result, name, parameters, ...)                                 \
    result name parameters {                                                                       \
        static result(*next) parameters;                                                           \
        if (!next)                                                                                 \
            next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                  \
        return fails_on(kind, folder, path) ? -1 : next(__VA_ARGS__);                              \
    }

ON_FILE(WRITE, ssize_t, write, (int file, const void *data, size_t size), file, data, size)
ON_FILE(WRITE, ssize_t, writev, (int file, const struct iovec *data, int count), file, data, count)
ON_FILE(PWRITE, ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), file, data,
        size, at)
ON_FILE(PWRITE, ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), file,
        data, size, at)
ON_FILE(TRUNCATE, int, ftruncate, (int file, off_t size), file, size)
ON_FILE(TRUNCATE, int, ftruncate64, (int file, off64_t size), file, size)
ON_FILE(ALLOCATE, int, fallocate, (int file, int mode, off_t at, off_t size), file, mode, at, size)
ON_FILE(ALLOCATE, int, fallocate64, (int file, int mode, off64_t at, off64_t size), file, mode, at,
        size)
ON_FILE(SYNC, int, fsync, (int file), file)
ON_FILE(SYNC, int, fdatasync, (int file), file)
ON_FILE(SYNC, int, syncfs, (int file), file)

ssize_t copy_file_range(int from, off64_t *at, int file, off64_t *to, size_t size, unsigned flags) {
    return fails_at(COPY, file) ? -1 : NEXT(copy_file_range)(from, at, file, to, size, flags);
}

ON_PATH(MKDIR, AT_FDCWD, path, int, mkdir, (const char *path, mode_t mode), path, mode)
ON_PATH(MKDIR, folder, path, int, mkdirat, (int folder, const char *path, mode_t mode), folder,
        path, mode)
ON_PATH(RENAME, AT_FDCWD, path, int, rename, (const char *old, const char *path), old, path)
ON_PATH(RENAME, folder, path, int, renameat,
        (int from, const char *old, int folder, const char *path), from, old, folder, path)
ON_PATH(RENAME, folder, path, int, renameat2,
        (int from, const char *old, int folder, const char *path, unsigned flags), from, old,
        folder, path, flags)
ON_PATH(LINK, AT_FDCWD, path, int, link, (const char *old, const char *path), old, path)
ON_PATH(LINK, folder, path, int, linkat,
        (int from, const char *old, int folder, const char *path, int flags), from, old, folder,
        path, flags)
ON_PATH(SYMLINK, AT_FDCWD, path, int, symlink, (const char *old, const char *path), old, path)
ON_PATH(SYMLINK, folder, path, int, symlinkat, (const char *old, int folder, const char *path),
        old, folder, path)
ON_PATH(UNLINK, AT_FDCWD, path, int, unlink, (const char *path), path)
ON_PATH(UNLINK, AT_FDCWD, path, int, rmdir, (const char *path), path)
ON_PATH(UNLINK, folder, path, int, unlinkat, (int folder, const char *path, int flags), folder,
        path, flags)

#define OPENING(name, folder, parameters, ...)                                                     \
    int name parameters {                                                                          \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                                       \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        if (flags & O_CREAT && fails_on(CREATE, folder, path))                                     \
            return -1;                                                                             \
        return NEXT(name)(__VA_ARGS__, flags, mode);                                               \
    }

OPENING(open, AT_FDCWD, (const char *path, int flags, ...), path)
OPENING(open64, AT_FDCWD, (const char *path, int flags, ...), path)
OPENING(openat, folder, (int folder, const char *path, int flags, ...), folder, path)
OPENING(openat64, folder, (int folder, const char *path, int flags, ...), folder, path)
