/* SPDX-License-Identifier: Apache-2.0
 * The kernel's list of connections, asked of the kernel that runs the tests.
 *
 * This program's own mnl_socket_recvfrom() counts the connections that it told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agents/ha/flows/flows_private.h"

static unsigned told;

ssize_t mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t bufsiz)
{
	ssize_t n = recv(mnl_socket_get_fd(nl), buf, bufsiz, 0);
	int left = (int)n;

	for (struct nlmsghdr *h = buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
		told += h->nlmsg_type == SOCK_DIAG_BY_FAMILY;
	return n;
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(text, &a));
	return a;
}

static int socket_at(struct addr *a)
{
	int off = 0;
	socklen_t n = sizeof(*a);
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_return_code(fd, errno);
	if (a->sa.sa_family == AF_INET6)
		assert_return_code(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), errno);
	assert_return_code(bind(fd, &a->sa, addr_len(a)), errno);
	assert_return_code(getsockname(fd, &a->sa, &n), errno);
	return fd;
}

enum { ENDS = 3 };

/* fds: who listens, who accepted, who connected. */
static struct flow connect_to(const char *local, const char *remote, const char *listener, int fds[ENDS])
{
	struct flow f = { address(local), address(remote) };
	struct addr at = address(listener);

	fds[0] = socket_at(&at);
	assert_return_code(listen(fds[0], 1), errno);
	addr_set_port(&f.local, addr_port(&at));
	fds[2] = socket_at(&f.remote);
	assert_return_code(connect(fds[2], &f.local.sa, addr_len(&f.local)), errno);
	fds[1] = accept(fds[0], NULL, NULL);
	assert_return_code(fds[1], errno);
	return f;
}

static void close_all(const int fds[ENDS])
{
	for (size_t i = 0; i < ENDS; i++)
		close(fds[i]);
}

static void expect_alone(const char *vip, const struct flow *want)
{
	struct addr a = address(vip);
	struct flow list[8];
	struct flows_why why = { "" };

	told = 0;
	assert_int_equal(flows_established(&a, list, 8, &why), want != NULL);
	assert_int_equal(told, want != NULL); /* by the kernel: what else there is does not cost us anything */
	if (want != NULL)
		assert_int_equal(flows_compare(&list[0], want), 0);
}

static void the_kernel_tells_of_the_address_alone(void **state)
{
	UNUSED(state);
	int a[ENDS], b[ENDS], other[ENDS];
	struct flow v4 = connect_to("127.1.2.3", "127.1.9.9", "127.1.2.3", a);
	struct flow mapped = connect_to("127.1.2.4", "127.1.9.9", "::", b);

	connect_to("127.1.2.5", "127.1.9.9", "127.1.2.5", other);
	expect_alone("127.1.2.3", &v4);
	expect_alone("127.1.2.4", &mapped);
	expect_alone("127.1.2.6", NULL);
	expect_alone("2001:db8::1", NULL);
	close_all(a);
	close_all(b);
	close_all(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_tells_of_the_address_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
