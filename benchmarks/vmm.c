// A guest booted by hand, to compare with: its daemons, then QEMU, with the command lines that the library gave them.
//
// vmm CALL_HOME LOG [-- SOCKET PROGRAM ARGUMENT...]...
//   CALL_HOME   the unix socket where the guest is heard to say that it serves
//   LOG         what the processes say
//   SOCKET      what a daemon listens on, which is waited for before the last program, QEMU, is started; - for that one
// Prints how long it took to the guest's call, in nanoseconds, and kills what it has started.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 8, BOOT_LIMIT = 60000, START_LIMIT = 10000 };

extern char **environ;
static pid_t pids[MAX];
static int started;

static void finish(int code) {
  for (int i = started - 1; i >= 0; i--) kill(pids[i], SIGKILL);
  for (int i = started - 1; i >= 0; i--) waitpid(pids[i], NULL, 0);
  exit(code);
}

static void fail(const char *what) {
  perror(what);
  finish(1);
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8)) fail(path);
  return fd;
}

static void start(char **arguments, const char *log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  // A session is a group of its own for the scheduler, as those of the library are.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  if (started == MAX || posix_spawn(&pids[started], arguments[0], &actions, &attributes, arguments, environ)) fail(arguments[0]);
  started++;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
}

static void wait_for(const char *socket) {
  struct stat status;
  for (long long end = now() + START_LIMIT * 1000000LL; stat(socket, &status); usleep(500))
    if (now() > end) fail(socket);
}

int main(int count, char **arguments) {
  if (count < 6) {
    fputs("usage: vmm CALL_HOME LOG [-- SOCKET PROGRAM ARGUMENT...]...\n", stderr);
    return 2;
  }
  long long begin = now();
  int home = listen_at(arguments[1]);
  char *sockets[MAX];
  int waiting = 0;
  for (int i = 4; i < count;) {
    char **program = &arguments[i + 1];
    char *socket = arguments[i];
    while (i < count && strcmp(arguments[i], "--")) i++;
    arguments[i++] = NULL;
    if (!strcmp(socket, "-")) {
      for (int j = 0; j < waiting; j++) wait_for(sockets[j]);
    } else {
      sockets[waiting++] = socket;
    }
    start(program, arguments[2]);
  }
  struct pollfd entry = {.fd = home, .events = POLLIN};
  if (poll(&entry, 1, BOOT_LIMIT) != 1) fail("the guest does not call");
  int call = accept4(home, NULL, NULL, SOCK_CLOEXEC);
  if (call < 0) fail("accept");
  printf("%lld\n", now() - begin);
  unlink(arguments[1]);
  finish(0);
}
