/* SPDX-License-Identifier: Apache-2.0
 * Small helpers of the commands: messages, files, reading answers without trusting their shape, numbers for people.
 */
#include "daemon/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- messages ---- */

void cli_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	fputs("postroad: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

int cli_confirm(const struct cli *c, const char *fmt, ...)
{
	struct sbuf question = { 0 };
	char answer[16];
	va_list ap;
	int rc = EXIT_DONE;

	if (cli_has(c, OPT_YES))
		return EXIT_DONE;
	va_start(ap, fmt);
	sbuf_vprintf(&question, fmt, ap);
	va_end(ap);
	if (!isatty(STDIN_FILENO)) {
		cli_error("this would %s; say --yes to do so without being asked", question.p);
		rc = EXIT_USAGE;
	} else {
		fprintf(stderr, "This will %s. Go on? [y/N] ", question.p);
		if (fgets(answer, sizeof(answer), stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y')) {
			cli_error("nothing was changed");
			rc = EXIT_FAILED;
		}
	}
	sbuf_fini(&question);
	return rc;
}

void cli_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

char *cli_read_file(const char *name, size_t max, size_t *ret_n)
{
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	struct sbuf b = { 0 };
	char chunk[65536];
	size_t n;

	if (f == NULL) {
		cli_error("%s: %s", name, strerror(errno));
		return NULL;
	}
	while (b.n <= max && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		sbuf_add(&b, chunk, n);
	bool has_failed = ferror(f) != 0;
	int err = errno;
	if (f != stdin)
		fclose(f);
	if (has_failed || b.n > max) {
		if (has_failed)
			cli_error("%s: %s", name, strerror(err));
		else
			cli_error("%s is larger than %zu bytes", name, max);
		sbuf_fini(&b);
		return NULL;
	}
	*ret_n = b.n;
	return sbuf_steal(&b);
}

const char *cli_nearest(const char *word, const char *(*candidate)(size_t i))
{
	unsigned best = (unsigned)(strlen(word) / 3 + 2);
	const char *name, *found = NULL;

	for (size_t i = 0; (name = candidate(i)) != NULL; i++) {
		unsigned d = str_distance(word, name, best);
		if (d < best) {
			best = d;
			found = name;
		}
	}
	return found;
}

/* ---- reading answers ---- */

const char *cli_str(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

long long cli_int(const json_t *object, const char *key)
{
	return (long long)json_number_value(json_object_get(object, key));
}

bool cli_is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *cli_scalar(const json_t *value, char *out, size_t n)
{
	out[0] = '\0';
	if (json_is_string(value))
		snprintf(out, n, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(out, n, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(out, n, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(out, n, "%s", json_is_true(value) ? "yes" : "no");
	return out;
}

/* ---- numbers for people ---- */

const char *cli_duration(double seconds, char *out, size_t n)
{
	long long s = (long long)seconds;

	if (s < 10)
		snprintf(out, n, "%.1fs", seconds);
	else if (s < 60)
		snprintf(out, n, "%llds", s);
	else if (s < 3600)
		snprintf(out, n, "%lldm %llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, n, "%lldh %lldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, n, "%lldd %lldh", s / 86400, s / 3600 % 24);
	return out;
}

const char *cli_bytes(double bytes, char *out, size_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t u = 0;

	while (bytes >= 1024 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1024;
		u++;
	}
	snprintf(out, n, u == 0 || bytes >= 100 ? "%.0f%s" : "%.1f%s", bytes, units[u]);
	return out;
}
