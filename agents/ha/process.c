/* SPDX-License-Identifier: Apache-2.0
 * Whether a process runs, from /proc.
 *
 * The hard thing: a program's name stands in the middle of /proc/PID/stat and may hold blanks and parentheses, so the
 * fields are counted from the last one.
 */
#include "agents/ha/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agents/ha/files.h"

bool process_parse(struct str stat, char *ret_state, pid_t *ret_parent)
{
	const char *close = stat.n == 0 ? NULL : memrchr(stat.p, ')', stat.n);
	char rest[64] = { 0 };
	int parent;

	if (close == NULL)
		return false;
	size_t n = (size_t)(stat.p + stat.n - close);
	memcpy(rest, close, n < sizeof(rest) ? n : sizeof(rest) - 1);
	if (sscanf(rest, ") %c %d ", ret_state, &parent) != 2 || parent < 0)
		return false;
	*ret_parent = (pid_t)parent;
	return true;
}

enum process_state process_look(pid_t pid, pid_t parent)
{
	char path[64], text[512], state;
	pid_t found;

	if (pid <= 0)
		return PROCESS_GONE;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return PROCESS_GONE;
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0 || !process_parse((struct str) { text, (size_t)n }, &state, &found))
		return PROCESS_GONE;
	if (state == 'Z' || state == 'X' || (parent != 0 && found != parent))
		return PROCESS_GONE;
	return state == 'T' || state == 't' ? PROCESS_STOPPED : PROCESS_RUNS;
}

pid_t process_child_of(pid_t parent)
{
	char path[64], text[32] = "";
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	int fd = parent > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && sscanf(text, "%d", &child) == 1 ? (pid_t)child : 0;
}

pid_t process_of_file(const char *dir, const char *name)
{
	struct sbuf text = { 0 };
	long pid = 0;

	if (files_read(dir, name, 32, &text) == 0 && text.n > 0)
		pid = strtol(text.p, NULL, 10);
	sbuf_fini(&text);
	return pid > 0 && pid < INT32_MAX ? (pid_t)pid : 0;
}
