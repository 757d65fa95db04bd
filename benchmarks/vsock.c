// Echo by vsock in plain C, to compare with: a server, and a client that sends 64 bytes and waits for them, again and again.
//
// vsock serve vsock://CID:PORT          AF_VSOCK (CID 4294967295 is any)
// vsock serve hvsock://PATH:PORT        a hybrid socket as hypervisors have it; the port does not count
// vsock serve unix://PATH               what a guest dials through a hybrid socket: PATH is the socket's with _PORT
// vsock client ADDRESS COUNT            prints median and 99th percentile in nanoseconds
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, WARM_UP = 500 };

struct address {
  int native, hybrid;
  unsigned cid, port;
  char path[108];
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct address parse(const char *text) {
  struct address a = {0};
  a.native = sscanf(text, "vsock://%u:%u", &a.cid, &a.port) == 2;
  a.hybrid = sscanf(text, "hvsock://%107[^:]:%u", a.path, &a.port) == 2;
  if (!a.native && !a.hybrid && sscanf(text, "unix://%107s", a.path) != 1) {
    fprintf(stderr, "%s is no address\n", text);
    exit(2);
  }
  return a;
}

static int open_socket(struct address *a, int serve) {
  struct sockaddr_vm vm = {.svm_family = AF_VSOCK, .svm_cid = a->cid, .svm_port = a->port};
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  strcpy(un.sun_path, a->path);
  struct sockaddr *where = a->native ? (struct sockaddr *)&vm : (struct sockaddr *)&un;
  socklen_t length = a->native ? sizeof vm : sizeof un;
  int fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (serve) {
    if (bind(fd, where, length) || listen(fd, 8)) fail("listen");
  } else if (connect(fd, where, length)) {
    fail("connect");
  }
  return fd;
}

static int read_all(int fd, char *buffer, int size) {
  for (int done = 0; done < size;) {
    ssize_t n = read(fd, buffer + done, size - done);
    if (n <= 0) return 0;
    done += n;
  }
  return 1;
}

static int read_line(int fd) {
  for (char c = 0; c != '\n';)
    if (read(fd, &c, 1) != 1) return 0;
  return 1;
}

static void echo(int fd) {
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
    if (write(fd, buffer, n) != n) return;
}

static int compare(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return (x > y) - (x < y);
}

static void client(struct address *a, int count) {
  int fd = open_socket(a, 0);
  if (a->hybrid) {
    dprintf(fd, "CONNECT %u\n", a->port);
    if (!read_line(fd)) {
      fputs("nobody listens\n", stderr);
      exit(1);
    }
  }
  long long *times = calloc(count, sizeof *times);
  char buffer[SIZE] = {0};
  for (int i = -WARM_UP; i < count; i++) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (write(fd, buffer, SIZE) != SIZE || !read_all(fd, buffer, SIZE)) fail("echo");
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (i >= 0) times[i] = (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec;
  }
  qsort(times, count, sizeof *times, compare);
  printf("%lld %lld\n", times[count / 2], times[count * 99LL / 100]);
}

int main(int count, char **arguments) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);
  if (count == 3 && !strcmp(arguments[1], "serve")) {
    struct address a = parse(arguments[2]);
    for (int fd = open_socket(&a, 1);;) {
      int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
      if (peer < 0) fail("accept");
      if (fork() == 0) {
        if (!a.hybrid || (read_line(peer) && write(peer, "OK 1\n", 5) == 5)) echo(peer);
        _exit(0);
      }
      close(peer);
    }
  }
  if (count == 4 && !strcmp(arguments[1], "client")) {
    struct address a = parse(arguments[2]);
    client(&a, atoi(arguments[3]));
    return 0;
  }
  fputs("usage: vsock serve ADDRESS | client ADDRESS COUNT\n", stderr);
  return 2;
}
