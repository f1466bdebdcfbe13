/* SPDX-License-Identifier: Apache-2.0
 * `postroad config edit`: the document in the administrator's editor, opened again until it validates.
 *
 * Nothing typed may be lost: whatever was not applied in the end stays in its file, whose name is the last thing said.
 */
#include "daemon/cli/cli.h"
#include "daemon/cli/config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 100

struct edit {
	char file[4096];
	char *before;           /* what the editor was given */
	char *rejected;         /* the last text that was refused */
	const json_t *document; /* the same, parsed */
	const char *etag;       /* of what `before` shows */
};

static bool write_file(struct edit *e)
{
	const char *dir = getenv("TMPDIR");

	snprintf(e->file, sizeof(e->file), "%s/postroad-config-XXXXXX.json",
		 dir != NULL && *dir != '\0' ? dir : "/tmp");
	int fd = mkstemps(e->file, 5);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	bool is_written = f != NULL && fputs(e->before, f) >= 0;

	if (f != NULL)
		is_written = fclose(f) == 0 && is_written;
	if (!is_written)
		cli_error("%s: %s", e->file, strerror(errno));
	return is_written;
}

static const char *editor(void)
{
	const char *visual = getenv("VISUAL"), *plain = getenv("EDITOR");

	if (visual != NULL && *visual != '\0')
		return visual;
	return plain != NULL && *plain != '\0' ? plain : "vi";
}

/* Through a shell, since $EDITOR may hold options; the file name is a parameter, never part of the script. */
static bool run_editor(const char *file)
{
	int status = -1;

	fflush(stdout);
	char *script = xasprintf("exec %s \"$1\"", editor());
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", script, "sh", file, (char *)NULL);
		_exit(127);
	}
	free(script);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	cli_error("the editor (%s) failed", editor());
	return false;
}

/* After a refusal. Without a terminal the same text again means that nobody will mend it. */
static bool wants_again(const struct edit *e, const char *text)
{
	char answer[16];

	if (e->rejected != NULL && strcmp(e->rejected, text) == 0)
		return false;
	if (!isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "Edit again? [Y/n] ");
	return fgets(answer, sizeof(answer), stdin) != NULL && answer[0] != 'n' && answer[0] != 'N';
}

/* One turn of the editor. *ret_done: there is no next turn. */
static int edit_once(struct cli *c, struct edit *e, bool *ret_done)
{
	size_t n;
	int rc = EXIT_FAILED;

	*ret_done = true;
	char *text = run_editor(e->file) ? cli_read_file(e->file, CONFIG_MAX, &n) : NULL;
	if (text == NULL)
		return rc;
	if (strcmp(text, e->before) == 0) {
		puts("unchanged");
		free(text);
		return EXIT_DONE;
	}
	json_t *doc = config_parse_text(e->file, text, n);
	struct config_change change = { .before = e->document, .after = doc, .etag = e->etag };
	rc = doc != NULL ? config_put(c, &change) : EXIT_USAGE;
	json_decref(doc);
	if (rc == EXIT_USAGE)
		*ret_done = !wants_again(e, text);
	free(e->rejected);
	e->rejected = text;
	return rc;
}

int cmd_config_edit(struct cli *c)
{
	struct edit e = { .file = "" };
	json_t *doc = NULL;
	char *etag = NULL;
	bool is_done = false;
	int rc = config_fetch(c, &doc, &etag);

	if (rc != EXIT_DONE)
		return rc;
	char *text = json_dumps(doc, JSON_INDENT(2));
	e.document = doc;
	e.before = xasprintf("%s\n", text);
	e.etag = etag;
	rc = write_file(&e) ? EXIT_DONE : EXIT_FAILED;
	for (int round = 0; rc != EXIT_FAILED && !is_done && round < ROUNDS_MAX; round++)
		rc = edit_once(c, &e, &is_done);
	if (rc == EXIT_DONE)
		unlink(e.file);
	else if (*e.file != '\0')
		cli_error("nothing was changed; your text is in %s", e.file);
	free(text);
	free(e.before);
	free(e.rejected);
	free(etag);
	json_decref(doc);
	return rc;
}
