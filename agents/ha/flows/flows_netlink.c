/* SPDX-License-Identifier: Apache-2.0
 * Netlink: one request, all of its answer.
 *
 * The kernel answers at once, but a buffer that ran over loses the end of an answer; so reading has a time limit, and a
 * list that changed while it was read is read again by the caller who minds.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "agents/ha/flows/flows_private.h"

#define NETLINK_SECONDS 2
#define NETLINK_BUFFER 65536

int flows_fail(struct flows_why *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return -1;
}

static int answer(struct mnl_socket *s, uint32_t seq, mnl_cb_t callback, void *arg)
{
	char *buffer = xmalloc(NETLINK_BUFFER);
	int rc = MNL_CB_OK;

	while (rc > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(s, buffer, NETLINK_BUFFER);
		if (n <= 0) {
			rc = -1;
			break;
		}
		rc = mnl_cb_run(buffer, (size_t)n, seq, mnl_socket_get_portid(s), callback, arg);
	}
	free(buffer);
	return rc < 0 ? -1 : 0;
}

int flows_netlink_send(const struct netlink_request *r, mnl_cb_t callback, void *arg)
{
	struct timeval limit = { .tv_sec = NETLINK_SECONDS };
	struct mnl_socket *s = mnl_socket_open2(r->bus, SOCK_CLOEXEC);
	int rc = -1;

	if (s == NULL)
		return -1;
	if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
	    mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0 && mnl_socket_sendto(s, r->bytes, r->n) >= 0)
		rc = answer(s, r->seq, callback, arg);
	int saved = errno;
	mnl_socket_close(s);
	errno = saved;
	return rc;
}

int flows_netlink(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *arg)
{
	request->nlmsg_flags |= NLM_F_REQUEST;
	request->nlmsg_seq = (uint32_t)time(NULL);
	struct netlink_request r = { bus, request, request->nlmsg_len, request->nlmsg_seq };
	return flows_netlink_send(&r, callback, arg);
}

const void *flows_bytes(const struct addr *a, size_t *ret_n)
{
	if (a->sa.sa_family == AF_INET6) {
		*ret_n = sizeof(a->in6.sin6_addr);
		return &a->in6.sin6_addr;
	}
	*ret_n = sizeof(a->in.sin_addr);
	return &a->in.sin_addr;
}

void flows_addr(struct addr *ret, int family, const void *bytes, unsigned port)
{
	memset(ret, 0, sizeof(*ret));
	ret->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET6)
		memcpy(&ret->in6.sin6_addr, bytes, sizeof(ret->in6.sin6_addr));
	else
		memcpy(&ret->in.sin_addr, bytes, sizeof(ret->in.sin_addr));
	addr_set_port(ret, port);
}
