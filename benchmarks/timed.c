// timed RESULTS COMMAND...: runs the command and appends a line "MICROSECONDS PEAK_RSS_KIB EXIT_CODE" to the file RESULTS.
//
// In C and tiny for a reason: the kernel takes the peak memory of whoever calls exec for that of the new program (exec_mmap in
// fs/exec.c), so a parent of more memory than the program would measure itself.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count < 3) {
    fputs("usage: timed RESULTS COMMAND...\n", stderr);
    return 2;
  }
  int results = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (results < 0) {
    perror(arguments[1]);
    return 2;
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  pid_t pid = vfork();
  if (pid == 0) {
    execvp(arguments[2], arguments + 2);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
    perror("timed");
    return 2;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  dprintf(results, "%lld %ld %d\n", (end.tv_sec - start.tv_sec) * 1000000LL + (end.tv_nsec - start.tv_nsec) / 1000, usage.ru_maxrss, code);
  return code;
}
