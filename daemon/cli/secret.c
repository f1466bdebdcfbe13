/* SPDX-License-Identifier: Apache-2.0
 * Reading a password or a passphrase: from a file, from standard input, or from somebody at a terminal.
 *
 * The hard thing is to leave no copy behind: not through stdio, which would keep one, and not on the screen.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/cli/cli.h"

/* Reads to the end, or on a terminal to the end of the line. */
static bool read_bytes(int fd, char *out, size_t max, size_t *ret_n)
{
	bool is_line = isatty(fd);
	size_t n = 0;

	while (n < max && (!is_line || n == 0 || out[n - 1] != '\n')) {
		ssize_t got = read(fd, out + n, max - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*ret_n = n;
	return true;
}

/* The same without an echo, where there would be one. */
static bool read_quietly(int fd, const char *prompt, char *out, size_t max, size_t *ret_n)
{
	struct termios before, quiet;

	if (tcgetattr(fd, &before) != 0)
		return read_bytes(fd, out, max, ret_n);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fprintf(stderr, "%s: ", prompt);
	tcsetattr(fd, TCSAFLUSH, &quiet);
	bool ok = read_bytes(fd, out, max, ret_n);
	tcsetattr(fd, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return ok;
}

bool cli_read_secret(const char *file, const char *prompt, char *out, size_t max, size_t *ret_n)
{
	bool is_stdin = file == NULL || strcmp(file, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	bool ok = fd >= 0 && read_quietly(fd, prompt, out, max, &n);
	if (!ok) {
		cli_error("%s: %s", is_stdin ? "standard input" : file, strerror(errno));
		OPENSSL_cleanse(out, max);
	}
	if (fd >= 0 && !is_stdin)
		close(fd);
	if (n > 0 && out[n - 1] == '\n')
		n--;
	if (n > 0 && out[n - 1] == '\r')
		n--;
	*ret_n = n;
	return ok;
}
