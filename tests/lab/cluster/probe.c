/* SPDX-License-Identifier: Apache-2.0
 * lab-probe ADDRESS PORT [INTERVAL_MS]: a TCP SYN each interval, and who answers it.
 *
 *     S NUMBER MONOTONIC_NS             sent
 *     A NUMBER MONOTONIC_NS MAC         a SYN-ACK came for it, from this hardware address
 *     R NUMBER MONOTONIC_NS MAC         a reset came for it
 *     E NUMBER MONOTONIC_NS ERRNO       the kernel would not send it (no route, nobody answers ARP)
 *
 * The hard thing is to burden nobody: no connection is made. The SYN is made by hand, its sequence number says which
 * one it is, and the kernel here, which knows of no such connection, answers a SYN-ACK with a reset. What is measured
 * is therefore address, route and listening socket, not the program behind. Answers carry the kernel's time of arrival;
 * what is late is the sending, and its own lines show by how much.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Below the ports that the kernel gives to connections of its own. */
#define PORT_FIRST 20000
#define PORT_COUNT 12000

struct target {
	int family;
	uint8_t to[16], from[16]; /* as the family has it */
	size_t n;                 /* bytes of an address */
	struct sockaddr_storage sa;
	socklen_t sa_len;
	uint16_t port;
};

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Fills in the address we would speak from. */
static void find_source(struct target *t)
{
	struct sockaddr_storage own, to = t->sa;
	socklen_t n = sizeof(own);
	int fd = socket(t->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (t->family == AF_INET)
		((struct sockaddr_in *)&to)->sin_port = htons(9);
	else
		((struct sockaddr_in6 *)&to)->sin6_port = htons(9);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, t->sa_len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &n) != 0)
		die("lab-probe: no route");
	close(fd);
	if (t->family == AF_INET)
		memcpy(t->from, &((struct sockaddr_in *)&own)->sin_addr, 4);
	else
		memcpy(t->from, &((struct sockaddr_in6 *)&own)->sin6_addr, 16);
}

static void parse(struct target *t, const char *address, const char *port)
{
	t->port = (uint16_t)atoi(port);
	if (inet_pton(AF_INET, address, t->to) == 1) {
		struct sockaddr_in *sa = (struct sockaddr_in *)&t->sa;

		t->family = sa->sin_family = AF_INET;
		t->n = 4;
		t->sa_len = sizeof(*sa);
		memcpy(&sa->sin_addr, t->to, 4);
	} else if (inet_pton(AF_INET6, address, t->to) == 1) {
		struct sockaddr_in6 *sa = (struct sockaddr_in6 *)&t->sa;

		t->family = sa->sin6_family = AF_INET6;
		t->n = 16;
		t->sa_len = sizeof(*sa);
		memcpy(&sa->sin6_addr, t->to, 16);
	} else {
		fprintf(stderr, "lab-probe: not an address: %s\n", address);
		exit(2);
	}
	find_source(t);
}

static uint32_t sum_of(const void *p, size_t n, uint32_t sum)
{
	const uint8_t *b = p;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)b[i] << 8 | b[i + 1];
	return sum;
}

/* RFC 9293, section 3.1: over addresses, protocol, length and segment. */
static uint16_t checksum(const struct target *t, const struct tcphdr *tcp)
{
	uint32_t sum = sum_of(tcp, sizeof(*tcp), IPPROTO_TCP + sizeof(*tcp));

	sum = sum_of(t->from, t->n, sum_of(t->to, t->n, sum));
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void send_syn(int fd, const struct target *t, uint32_t number)
{
	struct tcphdr tcp = {
		.source = htons((uint16_t)(PORT_FIRST + number % PORT_COUNT)),
		.dest = htons(t->port),
		.seq = htonl(number),
		.doff = 5,
		.syn = 1,
		.window = htons(1024),
	};
	int64_t now = now_ns(CLOCK_MONOTONIC);

	tcp.check = checksum(t, &tcp);
	if (sendto(fd, &tcp, sizeof(tcp), 0, (const struct sockaddr *)&t->sa, t->sa_len) == sizeof(tcp))
		printf("S %u %lld\n", number, (long long)now);
	else
		printf("E %u %lld %d\n", number, (long long)now, errno);
}

/* The TCP header of a packet from the target to us, or NULL. */
static const struct tcphdr *tcp_of(const struct target *t, const uint8_t *p, size_t n)
{
	size_t head = sizeof(struct ip6_hdr);

	if (t->family == AF_INET) {
		const struct iphdr *ip = (const void *)p;

		if (n < sizeof(*ip) || ip->version != 4 || ip->protocol != IPPROTO_TCP ||
		    memcmp(&ip->saddr, t->to, 4) != 0)
			return NULL;
		head = ip->ihl * 4u;
	} else {
		const struct ip6_hdr *ip = (const void *)p;

		if (n < head || p[0] >> 4 != 6 || ip->ip6_nxt != IPPROTO_TCP || memcmp(&ip->ip6_src, t->to, 16) != 0)
			return NULL;
	}
	const struct tcphdr *tcp = (const void *)(p + head);
	if (n < head + sizeof(*tcp) || tcp->source != htons(t->port))
		return NULL;
	return ntohs(tcp->dest) == PORT_FIRST + (ntohl(tcp->ack_seq) - 1) % PORT_COUNT ? tcp : NULL;
}

static void hear(int fd, const struct target *t)
{
	uint8_t buf[256];
	char ancillary[128];
	struct sockaddr_ll from;
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { &from, sizeof(from), &v, 1, ancillary, sizeof(ancillary), 0 };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
	const struct tcphdr *tcp = n <= 0 || from.sll_pkttype != PACKET_HOST ? NULL : tcp_of(t, buf, (size_t)n);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int64_t at = now_ns(CLOCK_MONOTONIC);

	if (tcp == NULL || !(tcp->rst || (tcp->syn && tcp->ack)))
		return;
	if (c != NULL && c->cmsg_type == SCM_TIMESTAMPNS) {
		struct timespec arrived;

		memcpy(&arrived, CMSG_DATA(c), sizeof(arrived));
		at -= now_ns(CLOCK_REALTIME) - ((int64_t)arrived.tv_sec * 1000000000 + arrived.tv_nsec);
	}
	printf("%c %u %lld %02x:%02x:%02x:%02x:%02x:%02x\n", tcp->rst ? 'R' : 'A', ntohl(tcp->ack_seq) - 1,
	       (long long)at, from.sll_addr[0], from.sll_addr[1], from.sll_addr[2], from.sll_addr[3], from.sll_addr[4],
	       from.sll_addr[5]);
}

int main(int argc, char **argv)
{
	struct target t = { 0 };
	long interval = argc > 3 ? atol(argv[3]) : 10;
	struct itimerspec every = { { interval / 1000, interval % 1000 * 1000000 }, { 0, 1000000 } };
	int on = 1;

	if (argc < 3 || interval < 1) {
		fprintf(stderr, "usage: lab-probe ADDRESS PORT [INTERVAL_MS]\n");
		return 2;
	}
	parse(&t, argv[1], argv[2]);
	int raw = socket(t.family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int packets = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(t.family == AF_INET ? ETH_P_IP : ETH_P_IPV6));
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (raw < 0 || packets < 0 || timer < 0 || timerfd_settime(timer, 0, &every, NULL) != 0)
		die("lab-probe");
	setsockopt(packets, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &on, sizeof(on)); /* nothing is read from it */
	/* It needs little and that at once; where it may not have that, its lines say how late it was. */
	(void)!sched_setscheduler(0, SCHED_FIFO, &(struct sched_param) { 1 });
	setpriority(PRIO_PROCESS, 0, -19);
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct pollfd p[] = { { timer, POLLIN, 0 }, { packets, POLLIN, 0 } };

	for (uint32_t number = 1;;) {
		uint64_t ticks;

		if (poll(p, 2, -1) < 0)
			die("lab-probe: poll");
		if ((p[1].revents & POLLIN) != 0)
			hear(packets, &t);
		if ((p[0].revents & POLLIN) != 0 && read(timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			send_syn(raw, &t, number++);
	}
}
