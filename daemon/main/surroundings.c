/* SPDX-License-Identifier: Apache-2.0
 * What surrounds the process: directories, the limit on descriptors, the terminal or unit it was started from.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/main/node_private.h"

#define FILES_RESERVE 512

void surroundings_complain(const struct node *n, const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	log_msg(LOG_LEVEL_ERROR, "start_failed", "%s", text.p);
	if (n->config->log_target != LOG_TARGET_STDERR)
		fprintf(stderr, "postroadd: %s\n", text.p);
	sbuf_fini(&text);
}

bool surroundings_make_dir(const struct node *n, const char *path, mode_t mode)
{
	char *copy = xstrdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)!mkdir(copy, 0755); /* fails for those that exist; the last one tells */
		*slash = '/';
	}
	bool ok = mkdir(copy, mode) == 0 || errno == EEXIST;
	if (!ok)
		surroundings_complain(n, "%s: %m", path);
	free(copy);
	return ok;
}

static uint64_t files_needed(const struct conf *c)
{
	uint64_t sum = FILES_RESERVE;

	for (size_t i = 0; i < c->n_listeners; i++)
		if (c->listeners[i].caps.connections != UNLIMITED)
			sum += c->listeners[i].caps.connections;
	for (size_t i = 0; i < c->n_pools; i++)
		for (size_t j = 0; j < c->pools[i].n_servers; j++)
			if (c->pools[i].servers[j].max_connections != UNLIMITED)
				sum += c->pools[i].servers[j].max_connections;
	return sum;
}

void surroundings_raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_msg(LOG_LEVEL_WARNING, "open_files", "the soft limit cannot be raised, ignoring: %m");
}

char *surroundings_file_limit_text(const struct conf *c)
{
	struct rlimit limit;
	uint64_t needed = files_needed(c);

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed)
		return NULL;
	return xasprintf("the caps on connections add up to %llu descriptors, the process may open %llu (LimitNOFILE=)",
			 (unsigned long long)needed, (unsigned long long)limit.rlim_cur);
}

void surroundings_check_file_limit(struct node *n)
{
	char *text = surroundings_file_limit_text(n->conf);

	api_warn(n->api, "open_files", text);
	free(text);
}
