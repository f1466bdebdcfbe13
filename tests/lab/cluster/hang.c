/* SPDX-License-Identifier: Apache-2.0
 * lab-hang: keeps one thread of another process from running for as long as this process lives.
 *
 *     lab-hang TID
 *
 * Writes one line when the thread stands still: since when, by CLOCK_MONOTONIC in ns. A signal would stop all threads
 * of a process; the one way to stop one is to trace it. It goes on when this process ends, by whatever end, and a KILL
 * ends it meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	int tid = argc == 2 ? atoi(argv[1]) : 0, status;
	struct timespec t;

	if (tid <= 0) {
		fputs("usage: lab-hang TID\n", stderr);
		return 2;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0)
		die("PTRACE_SEIZE");
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0)
		die("PTRACE_INTERRUPT");
	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		die("the thread does not stop");
	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("%lld\n", (long long)t.tv_sec * 1000000000 + t.tv_nsec);
	fflush(stdout);
	/* A thread that ends is reaped, or its process could not end. */
	while (waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status)) {
	}
	for (;;)
		pause();
}
