/* SPDX-License-Identifier: Apache-2.0
 * lab-watch: which addresses the kernel of this network namespace has, from now on, one line for each change.
 *
 *     MONOTONIC_NS + ADDRESS INTERFACE       has it, or its lifetime was renewed
 *     MONOTONIC_NS - ADDRESS INTERFACE       has it no more
 *     MONOTONIC_NS .                         all that was there at the start has been told
 *
 * The kernel tells each change, so none is too short to be seen; a sampler would miss those between its samples. The
 * time is that of the reading, late by as long as this process waits for a processor.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BYTES (1 << 20)

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void tell(struct nlmsghdr *h, int64_t now)
{
	struct ifaddrmsg *a = NLMSG_DATA(h);
	const void *address = NULL, *local = NULL;
	char text[INET6_ADDRSTRLEN], name[IF_NAMESIZE] = "?";
	int left = (int)IFA_PAYLOAD(h);

	for (struct rtattr *r = IFA_RTA(a); RTA_OK(r, left); r = RTA_NEXT(r, left)) {
		if (r->rta_type == IFA_LOCAL)
			local = RTA_DATA(r);
		if (r->rta_type == IFA_ADDRESS)
			address = RTA_DATA(r);
	}
	if (local != NULL)
		address = local;
	if (address == NULL || inet_ntop(a->ifa_family, address, text, sizeof(text)) == NULL)
		return;
	if_indextoname(a->ifa_index, name);
	printf("%lld %c %s %s\n", (long long)now, h->nlmsg_type == RTM_NEWADDR ? '+' : '-', text, name);
}

static int open_netlink(void)
{
	struct sockaddr_nl me = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg a;
	} ask = { { sizeof(ask), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { .ifa_family = AF_UNSPEC } };
	int size = RECEIVE_BYTES, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof(me)) != 0)
		die("lab-watch: netlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	/* Changes are heard from the bind on, so none falls between the answer to this and the first of them. */
	if (send(fd, &ask, sizeof(ask), 0) < 0)
		die("lab-watch: send");
	return fd;
}

int main(void)
{
	static char buf[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
	int fd = open_netlink();
	pid_t parent = getppid();

	/* It runs outside the machine that it watches, so nothing ends it when the lab is killed. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval) { .tv_sec = 1 }, sizeof(struct timeval));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);
		int64_t now = now_ns();

		if (getppid() != parent)
			return 0;
		if (got < 0 && errno == EAGAIN)
			continue;
		if (got < 0)
			die("lab-watch: changes were lost");
		size_t left = (size_t)got;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR)
				tell(h, now);
			else if (h->nlmsg_type == NLMSG_DONE)
				printf("%lld .\n", (long long)now);
		}
	}
}
