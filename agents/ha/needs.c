/* SPDX-License-Identifier: Apache-2.0
 * What postroad-ha needs of the machine.
 *
 * The hard thing: corosync itself says that its user is missing only when its file is read, which is when a node is a
 * member already and cannot get any further. So it is looked for before.
 */
#include "agents/ha/needs.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where systemd is what started this machine; sd_booted(3). */
#define SYSTEMD_DIR "/run/systemd/system"

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool is_in_path(const char *program)
{
	const char *at = getenv("PATH");
	bool found = false;

	for (at = at != NULL ? at : "/bin:/usr/bin"; !found && *at != '\0';) {
		size_t n = strcspn(at, ":");
		char *path = xasprintf("%.*s/%s", (int)n, n > 0 ? at : ".", program);
		found = is_program(path);
		free(path);
		at += n + (at[n] == ':');
	}
	return found;
}

char *needs_program(const char *program, const char *package)
{
	bool is_path = strchr(program, '/') != NULL;

	if (is_path ? is_program(program) : is_in_path(program))
		return NULL;
	return xasprintf("there is no program %.80s%s: `apt install %s`", program, is_path ? "" : " in PATH", package);
}

char *needs_user(const char *user)
{
	if (getpwnam(user) != NULL)
		return NULL;
	return xasprintf("there is no user %.32s: `useradd --system %.32s`, or start postroad-ha with --user", user,
			 user);
}

char *needs_systemd(void)
{
	if (access(SYSTEMD_DIR, F_OK) == 0)
		return NULL;
	return xstrdup("systemd does not run here: start postroad-ha with --run-corosync");
}

char *needs_corosync(const struct corosync_options *o)
{
	char *missing[] = {
		o->program == NULL ? needs_systemd() : NULL,
		needs_program(o->program != NULL ? o->program : "corosync", "corosync"),
		needs_user(o->user),
	};
	struct sbuf all = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
		if (missing[i] != NULL)
			sbuf_printf(&all, "%s%s", all.n > 0 ? "; " : "", missing[i]);
		free(missing[i]);
	}
	char *why = all.n > 0 ? xstrdup(all.p) : NULL;
	sbuf_fini(&all);
	return why;
}
