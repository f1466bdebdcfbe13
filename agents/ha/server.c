/* SPDX-License-Identifier: Apache-2.0
 * The socket that postroadd connects to.
 *
 * The hard thing: this process is root in a directory that is postroadd's, who could put anything there in between. So
 * nothing in it is followed, opened or given away: who connects is asked of the kernel.
 */
#include "agents/ha/server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

static int listen_at(struct server *s)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;

	if (strlen(s->path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, s->path, strlen(s->path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (unlink(s->path) != 0 && errno != ENOENT) {
		int r = -errno;
		close(fd);
		return r;
	}
	/* Everybody may knock; accept_peer() looks who it is. */
	mode_t mask = umask(0);
	int r = bind(fd, (struct sockaddr *)&at, sizeof(at));
	umask(mask);
	if (r != 0 || listen(fd, 4) != 0 || lstat(s->path, &st) != 0) {
		r = -errno;
		close(fd);
		return r;
	}
	s->inode = st.st_ino;
	return fd;
}

/* Looked up once: a directory service may take its time, and leases run out meanwhile. */
static bool find_user(struct server *s)
{
	const struct passwd *p = s->user_found ? NULL : getpwnam(s->user);

	if (p != NULL) {
		s->user_found = true;
		s->uid = p->pw_uid;
		s->gid = p->pw_gid;
	}
	return s->user_found;
}

char *server_open(struct server *s, const char *run_dir, const char *user)
{
	memset(s, 0, sizeof(*s));
	s->user = user;
	s->peer = -1;
	snprintf(s->path, sizeof(s->path), "%s/" HA_SOCKET_NAME, run_dir);
	/* The directory is postroadd's, which is root where there is no such user. A failure shows when that starts. */
	if (mkdir(run_dir, 0755) == 0 && find_user(s) && lchown(run_dir, s->uid, s->gid) != 0)
		log_msg(LOG_LEVEL_WARNING, "run_dir", "%s cannot be given to %s", run_dir, user);
	s->in = xcalloc(1, sizeof(*s->in));
	s->buffer = xmalloc(HA_MESSAGE_MAX + 1);
	s->listener = listen_at(s);
	if (s->listener >= 0)
		return NULL;
	return xasprintf("cannot listen at %s: %s%s", s->path, strerror(-s->listener),
			 s->listener == -ENOENT ? "; make the directories above it, or name another by --run-dir" : "");
}

/* A child that writes a file has a copy of the descriptor: the connection ends now all the same. */
static void end_connection(struct server *s)
{
	if (s->peer < 0)
		return;
	shutdown(s->peer, SHUT_RDWR);
	close(s->peer);
	s->peer = -1;
}

static void leave(struct server *s, const char *why)
{
	if (s->peer < 0)
		return;
	log_msg(LOG_LEVEL_WARNING, "postroadd_gone", "%s", why);
	end_connection(s);
	s->greeted = false;
	s->events.gone(s->events.arg);
}

void server_close(struct server *s)
{
	end_connection(s);
	if (s->listener >= 0) {
		close(s->listener);
		unlink(s->path);
	}
	s->listener = -1;
	free(s->in);
	free(s->buffer);
}

/* ---- who connects ---- */

static bool is_welcome(struct server *s, int fd)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
		return false;
	if (who.uid == 0 || who.uid == geteuid() || (find_user(s) && s->uid == who.uid))
		return true;
	/* Anybody may knock, and shall not fill the log by it. */
	int64_t now = clock_mono_ms();
	if (now - s->refused_at >= SERVER_REFUSED_MS) {
		log_msg(LOG_LEVEL_WARNING, "refused", "user %u is neither root nor %s", (unsigned)who.uid, s->user);
		s->refused_at = now;
	}
	return false;
}

static void accept_peer(void *arg)
{
	struct server *s = arg;
	int size = SERVER_SEND_MAX;
	int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (!is_welcome(s, fd)) {
		close(fd);
		return;
	}
	/* What waits for the reader is the kernel's, up to this. Root may have more than the usual limit. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		(void)!setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	leave(s, "another connection takes its place");
	s->peer = fd;
	s->greeted = false;
}

/* ---- messages ---- */

static void take(struct server *s, size_t n)
{
	struct str bytes = { s->buffer, n };
	const char *why = ha_decode(bytes, s->in);

	if (why == NULL && s->in->type >= HA_REQUEST_END)
		why = "it is an answer";
	if (why == NULL && !s->greeted && s->in->type != HA_HELLO)
		why = "it is not the greeting";
	if (why == NULL) {
		s->greeted = true;
		s->events.request(s->in, s->events.arg);
	} else if (ha_other_version(bytes)) {
		leave(s, "it speaks another version of the protocol: upgrade both");
	} else if (!s->greeted) {
		leave(s, "it does not greet");
	} else {
		/* What is refused may still be a table from a newer or broken daemon: it is told, and nothing was done.
		 */
		struct ha_message *m = xcalloc(1, sizeof(*m));
		m->type = HA_ERROR;
		m->outcome.about = n > 1 ? (uint8_t)s->buffer[1] : 0;
		if (n >= HA_HEAD_LEN + 8 && m->outcome.about == HA_TABLE)
			m->outcome.generation = s->in->table.generation;
		ha_text(m->outcome.text, why);
		log_msg(LOG_LEVEL_ERROR, "request_refused", "%s", why);
		server_send(s, m);
		free(m);
	}
	OPENSSL_cleanse(s->in, sizeof(*s->in));
	OPENSSL_cleanse(s->buffer, n);
}

static void read_peer(void *arg)
{
	struct server *s = arg;

	/* One message may take long: a list of many flows does. */
	for (int64_t until = clock_mono_ms() + SERVER_READ_MS; s->peer >= 0;) {
		ssize_t n = recv(s->peer, s->buffer, HA_MESSAGE_MAX + 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			leave(s, "it closed the connection");
			return;
		}
		take(s, (size_t)n);
		if (clock_mono_ms() >= until)
			return;
	}
}

void server_send(struct server *s, struct ha_message *m)
{
	struct sbuf bytes = { 0 };
	const char *why = s->greeted ? ha_encode(m, &bytes) : NULL;

	if (why != NULL)
		log_msg(LOG_LEVEL_ERROR, "answer", "an answer of type %d cannot be sent: %s", (int)m->type, why);
	else if (s->peer >= 0 && s->greeted && send(s->peer, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		leave(s, errno == EAGAIN ? "it does not read" : strerror(errno));
	sbuf_fini(&bytes);
}

bool server_connected(const struct server *s)
{
	return s->peer >= 0;
}

void server_turn(struct server *s, struct turn *turn)
{
	turn_wait_for(turn, s->listener, accept_peer, s);
	turn_wait_for(turn, s->peer, read_peer, s);
}

void server_tick(struct server *s)
{
	struct stat st;

	if (s->listener >= 0 && lstat(s->path, &st) == 0 && st.st_ino == s->inode)
		return;
	if (s->listener >= 0)
		close(s->listener);
	s->listener = listen_at(s); /* fails while there is no directory; tried again each second */
}
