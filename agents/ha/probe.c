/* SPDX-License-Identifier: Apache-2.0
 * Asking the network whether somebody has an address.
 *
 * The hard thing: the kernel would ask with an address of its own and so tell the network about it. So the frames are
 * made here, byte by byte, and answers are picked out of what the interface hears.
 */
#include "agents/ha/probe.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/base/clock.h"

enum { ARP_LEN = 42, ND_LEN = 14 + 40 + 24, ND_ICMP = 14 + 40, ND_TARGET = ND_ICMP + 8 };
enum { ARP_OP = 20, ARP_SHA = 22, ARP_SPA = 28, ARP_TPA = 38 };

/* ---- frames ---- */

static void ethernet(uint8_t *out, const uint8_t to[6], const uint8_t own[6], uint16_t type)
{
	memcpy(out, to, 6);
	memcpy(out + 6, own, 6);
	out[12] = (uint8_t)(type >> 8);
	out[13] = (uint8_t)type;
}

static size_t arp_question(const struct addr *ip, const uint8_t own[6], uint8_t *out)
{
	static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };
	static const uint8_t head[8] = { 0, 1, 8, 0, 6, 4, 0, 1 }; /* Ethernet, IPv4, lengths, request */

	memset(out, 0, ARP_LEN);
	ethernet(out, everybody, own, ETHERTYPE_ARP);
	memcpy(out + 14, head, sizeof(head));
	memcpy(out + ARP_SHA, own, 6);
	memcpy(out + ARP_TPA, &ip->in.sin_addr, 4);
	return ARP_LEN;
}

static uint32_t sum(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	return s;
}

static size_t nd_question(const struct addr *ip, const uint8_t own[6], uint8_t *out)
{
	const uint8_t *target = ip->in6.sin6_addr.s6_addr;
	uint8_t to[6] = { 0x33, 0x33, 0xff, target[13], target[14], target[15] };
	/* ff02::1:ffXX:XXXX, the target's solicited-node group: RFC 4291 section 2.7.1. */
	uint8_t group[16] = { 0xff, 2, [11] = 1, [12] = 0xff, [13] = target[13], [14] = target[14], [15] = target[15] };

	memset(out, 0, ND_LEN);
	ethernet(out, to, own, ETHERTYPE_IPV6);
	out[14] = 0x60;
	out[14 + 5] = 24;  /* payload */
	out[14 + 6] = 58;  /* ICMPv6 */
	out[14 + 7] = 255; /* hop limit; the source stays :: */
	memcpy(out + 14 + 24, group, 16);
	out[ND_ICMP] = 135; /* neighbour solicitation */
	memcpy(out + ND_TARGET, target, 16);
	/* Over the pseudo header (RFC 8200 section 8.1): addresses, length, next header. */
	uint32_t s = sum(out + 14 + 8, 32) + 24 + 58 + sum(out + ND_ICMP, 24);
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	out[ND_ICMP + 2] = (uint8_t)(~s >> 8);
	out[ND_ICMP + 3] = (uint8_t)~s;
	return ND_LEN;
}

size_t probe_question(const struct addr *ip, const uint8_t own[6], uint8_t *out)
{
	return ip->sa.sa_family == AF_INET6 ? nd_question(ip, own, out) : arp_question(ip, own, out);
}

/* A reply, or anybody's question that names the address as his own. Probes of others (no sender address) count for
 * nothing: two that ask at once would stop one another for ever. */
static bool is_arp_answer(const uint8_t *p, size_t n, const struct addr *ip)
{
	static const uint8_t head[6] = { 0, 1, 8, 0, 6, 4 };

	return n >= ARP_LEN && p[12] == 8 && p[13] == 6 && memcmp(p + 14, head, sizeof(head)) == 0 &&
	       memcmp(p + ARP_SPA, &ip->in.sin_addr, 4) == 0;
}

static bool is_nd_answer(const uint8_t *p, size_t n, const struct addr *ip)
{
	return n >= ND_LEN && p[12] == 0x86 && p[13] == 0xdd && p[14 + 6] == 58 && p[14 + 7] == 255 &&
	       p[ND_ICMP] == 136 && memcmp(p + ND_TARGET, &ip->in6.sin6_addr, 16) == 0;
}

bool probe_is_answer(struct str frame, const struct addr *ip, const uint8_t own[6], uint8_t ret_mac[6])
{
	const uint8_t *p = (const uint8_t *)frame.p;
	bool v6 = ip->sa.sa_family == AF_INET6;

	if (!(v6 ? is_nd_answer(p, frame.n, ip) : is_arp_answer(p, frame.n, ip)) || memcmp(p + 6, own, 6) == 0)
		return false;
	memcpy(ret_mac, v6 ? p + 6 : p + ARP_SHA, 6);
	return true;
}

/* ---- sockets ---- */

/* Of IPv6 only neighbour advertisements: the interface may be busy. */
static bool filter_nd(int fd)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 6),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ND_ICMP), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, PROBE_FRAME_MAX),  BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { ARRAY_LEN(code), code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

static int listen_for(int interface, uint16_t type)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(type), .sll_ifindex = interface };
	/* Protocol 0: it hears nothing before the filter and the interface are set. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if ((type == ETHERTYPE_IPV6 && !filter_nd(fd)) || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void stop(struct probe *p)
{
	if (p->arp >= 0)
		close(p->arp);
	if (p->nd >= 0)
		close(p->nd);
	p->arp = p->nd = -1;
	p->used = false;
}

static bool own_mac(struct probe *p)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(request.ifr_name, p->vip.interface, sizeof(p->vip.interface));
	bool ok = fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
		  request.ifr_hwaddr.sa_family == 1; /* ARPHRD_ETHER */
	if (fd >= 0)
		close(fd);
	memcpy(p->own, request.ifr_hwaddr.sa_data, sizeof(p->own));
	return ok;
}

static bool has_family(const struct ha_vip *vip, sa_family_t family)
{
	for (size_t i = 0; i < vip->n_addresses; i++)
		if (vip->addresses[i].ip.sa.sa_family == family)
			return true;
	return false;
}

void probes_init(struct probes *p, void (*done)(const struct probe *p, void *arg), void *arg)
{
	memset(p, 0, sizeof(*p));
	p->done = done;
	p->arg = arg;
	for (size_t i = 0; i < PROBE_MAX; i++)
		p->list[i].arp = p->list[i].nd = -1;
}

const char *probes_start(struct probes *probes, uint32_t ticket, const struct ha_vip *vip)
{
	struct probe *p = probes->list;

	while (p < probes->list + PROBE_MAX && p->used)
		p++;
	if (p == probes->list + PROBE_MAX)
		return "other probes are under way";
	*p = (struct probe) { .used = true,
			      .ticket = ticket,
			      .vip = *vip,
			      .interface = (int)if_nametoindex(vip->interface),
			      .arp = -1,
			      .nd = -1,
			      .next_at = clock_mono_ms() };
	bool v4 = has_family(vip, AF_INET), v6 = has_family(vip, AF_INET6), ok = p->interface != 0 && own_mac(p);
	if (ok && v4)
		p->arp = listen_for(p->interface, ETHERTYPE_ARP);
	if (ok && v6)
		p->nd = listen_for(p->interface, ETHERTYPE_IPV6);
	if (ok && (!v4 || p->arp >= 0) && (!v6 || p->nd >= 0))
		return NULL;
	stop(p);
	return "the VIP's interface is none on which neighbours can be asked";
}

static void ask(struct probe *p)
{
	uint8_t frame[PROBE_FRAME_MAX];

	for (size_t i = 0; i < p->vip.n_addresses; i++) {
		const struct addr *ip = &p->vip.addresses[i].ip;
		struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = p->interface, .sll_halen = 6 };
		size_t n = probe_question(ip, p->own, frame);
		memcpy(to.sll_addr, frame, 6);
		/* A question that is lost is asked again. */
		(void)!sendto(ip->sa.sa_family == AF_INET6 ? p->nd : p->arp, frame, n, 0, (struct sockaddr *)&to,
			      sizeof(to));
	}
}

static void hear(struct probe *p, int fd)
{
	char frame[PROBE_FRAME_MAX];

	for (int turns = 0; turns < 64; turns++) {
		ssize_t n = recv(fd, frame, sizeof(frame), 0);
		if (n < 0)
			return;
		for (size_t i = 0; i < p->vip.n_addresses && !p->seen; i++)
			p->seen = probe_is_answer((struct str) { frame, (size_t)n }, &p->vip.addresses[i].ip, p->own,
						  p->mac);
	}
}

static void on_arp(void *arg)
{
	struct probe *p = arg;

	hear(p, p->arp);
}

static void on_nd(void *arg)
{
	struct probe *p = arg;

	hear(p, p->nd);
}

void probes_turn(struct probes *probes, struct turn *turn)
{
	for (size_t i = 0; i < PROBE_MAX; i++) {
		struct probe *p = &probes->list[i];
		if (!p->used)
			continue;
		turn_wait_for(turn, p->arp, on_arp, p);
		turn_wait_for(turn, p->nd, on_nd, p);
		turn_end_at(turn, p->next_at);
	}
}

void probes_tick(struct probes *probes, int64_t now_ms)
{
	for (size_t i = 0; i < PROBE_MAX; i++) {
		struct probe *p = &probes->list[i];
		if (!p->used || (now_ms < p->next_at && !p->seen))
			continue;
		if (p->seen || p->sent == PROBE_REPEATS) {
			probes->done(p, probes->arg);
			stop(p);
			continue;
		}
		ask(p);
		p->sent++;
		p->next_at = now_ms + PROBE_INTERVAL_MS;
	}
}

void probes_close(struct probes *probes)
{
	for (size_t i = 0; i < PROBE_MAX; i++)
		if (probes->list[i].used)
			stop(&probes->list[i]);
}
