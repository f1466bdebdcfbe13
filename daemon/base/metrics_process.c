/* SPDX-License-Identifier: Apache-2.0
 * The process_* metrics that every Prometheus client exposes, read from /proc/self.
 *
 * A value that cannot be read is left out rather than shown as 0: an alert on it would be wrong.
 */
#include "daemon/base/metrics_private.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A small file whole, NUL-terminated. */
static bool read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, out, size - 1);
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* From proc(5), /proc/pid/stat, counted from 1. */
enum { STAT_UTIME = 14, STAT_STIME = 15, STAT_STARTTIME = 22, STAT_VSIZE = 23, STAT_RSS = 24, STAT_FIELDS = 25 };

static bool read_stat(unsigned long long field[STAT_FIELDS])
{
	char text[1024];

	if (!read_small("/proc/self/stat", text, sizeof(text)))
		return false;
	/* The second field is the program's name in parentheses and may hold anything, spaces and parentheses too. */
	char *p = strrchr(text, ')');
	if (p == NULL)
		return false;
	p += 2;
	for (int i = 3; i < STAT_FIELDS; i++) {
		field[i] = strtoull(p, NULL, 10);
		p = strchr(p, ' ');
		if (p == NULL)
			return false;
		p++;
	}
	return true;
}

static double start_time;
static pthread_once_t start_time_once = PTHREAD_ONCE_INIT;

/* Once: worked out anew it would move with the wall clock, and each move would look like a restart. */
static void find_start_time(void)
{
	unsigned long long f[STAT_FIELDS];
	struct timespec wall, boot;

	if (!read_stat(f))
		return;
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	start_time = (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
		     (double)f[STAT_STARTTIME] / (double)sysconf(_SC_CLK_TCK);
}

static int count_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	if (d == NULL)
		return -1;
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n - 1; /* the directory itself */
}

static void put(struct sbuf *out, bool openmetrics, const char *name, const char *help, double value)
{
	size_t n = strlen(name);
	bool counter = n > 6 && strcmp(name + n - 6, "_total") == 0;

	metrics_render_head(out, name, counter ? METRIC_COUNTER : METRIC_GAUGE, help, openmetrics);
	sbuf_printf(out, "%s %.15g\n", name, value);
}

void metrics_render_process(struct sbuf *out, bool openmetrics)
{
	unsigned long long f[STAT_FIELDS];
	double tick = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
	struct rlimit limit;
	int fds = count_open_fds();

	pthread_once(&start_time_once, find_start_time);
	if (read_stat(f)) {
		put(out, openmetrics, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
		    (double)(f[STAT_UTIME] + f[STAT_STIME]) / tick);
		put(out, openmetrics, "process_resident_memory_bytes", "Resident memory size in bytes.",
		    (double)f[STAT_RSS] * page);
		put(out, openmetrics, "process_virtual_memory_bytes", "Virtual memory size in bytes.",
		    (double)f[STAT_VSIZE]);
		put(out, openmetrics, "process_start_time_seconds",
		    "Start time of the process since unix epoch in seconds.", start_time);
	}
	if (fds >= 0)
		put(out, openmetrics, "process_open_fds", "Number of open file descriptors.", fds);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		put(out, openmetrics, "process_max_fds", "Maximum number of open file descriptors.",
		    (double)limit.rlim_cur);
}
