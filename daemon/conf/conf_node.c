/* SPDX-License-Identifier: Apache-2.0
 * The node file: reading it, and what its fields mean together.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/conf/conf_schema.h"

#define FILE_MAX ((off_t)64 << 20)

/* ---- the file ---- */

static bool read_all(int fd, char *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, p + got, n - got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			errno = r == 0 ? EIO : errno; /* it shrank under us */
			return false;
		}
		got += (size_t)r;
	}
	return true;
}

/* The file's text; NULL with errno. */
static char *read_fd(int fd, size_t *ret_n)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	char *text = xmalloc((size_t)st.st_size + 1);
	if (!read_all(fd, text, (size_t)st.st_size)) {
		free(text);
		return NULL;
	}
	*ret_n = (size_t)st.st_size;
	return text;
}

static json_t *read_file(const char *file, struct errors *errors)
{
	json_t *v = NULL;
	size_t n = 0;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = fd < 0 ? NULL : read_fd(fd, &n);

	if (text == NULL)
		errors_add(errors, "", NULL, NULL, NULL, "cannot be read: %s", strerror(errno));
	else
		v = conf_read_json(text, n, errors);
	free(text);
	if (fd >= 0)
		close(fd);
	return v;
}

/* ---- its meaning ---- */

static void check_admin(const struct node_config *n, struct errors *errors)
{
	if (n->admin_tls != ADMIN_TLS_OFF)
		return;
	for (size_t i = 0; i < n->n_admin_listen; i++) {
		char addr[ADDR_TEXT_MAX];
		if (addr_is_loopback(&n->admin_listen[i]))
			continue;
		errors_add(errors, "/admin/tls", "\"off\"", "\"auto\", or {\"certificate\": …, \"key\": …}", NULL,
			   "without TLS, tokens would cross the network in the clear: %s is not loopback",
			   addr_format(&n->admin_listen[i], addr));
	}
}

static const char *host_name(char out[256])
{
	if (gethostname(out, 255) != 0)
		return NULL;
	out[255] = '\0';
	return out;
}

struct node_config *node_config_load(const char *file, struct errors *errors)
{
	size_t before = errors->n + errors->dropped;
	char host[256];
	struct conf_env env = { .hostname = host_name(host) };
	struct conf_parser p;
	json_t *v = read_file(file, errors);

	if (v == NULL)
		return NULL;
	struct node_config *n = xcalloc(1, sizeof(*n));
	n->arena = arena_new(4096);
	conf_parser_init(&p, &env, errors, n->arena);
	conf_parse_object(&p, &conf_node_object, v, n);
	conf_parser_fini(&p);
	json_decref(v);
	check_admin(n, errors);
	if (errors->n + errors->dropped > before) {
		node_config_free(n);
		return NULL;
	}
	return n;
}

void node_config_free(struct node_config *n)
{
	if (n == NULL)
		return;
	json_decref(n->initial_config);
	arena_free(n->arena);
	free(n);
}
