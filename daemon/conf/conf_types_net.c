/* SPDX-License-Identifier: Apache-2.0
 * Field types that are addresses: what to bind, networks, where a server is.
 */
#include "daemon/conf/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

/* ---- addresses to bind ---- */

static void note_bind(struct conf_parser *p, const struct addr *a)
{
	if (p->n_binds == p->cap_binds) {
		p->cap_binds = p->cap_binds == 0 ? 16 : p->cap_binds * 2;
		p->binds = xrealloc(p->binds, p->cap_binds * sizeof(*p->binds));
	}
	p->binds[p->n_binds++] = (struct conf_bind) {
		.owner = p->owner, .node = p->node, .addr = *a, .path = arena_strdup(p->arena, p->path.p)
	};
}

/* How one of a list is read, and what is said of one that is wrong. */
struct list_of {
	size_t size;
	bool (*take)(struct conf_parser *p, const char *text, void *ret);
	const char *wrong;
};

static bool parse_list(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base,
		       const struct list_of *of)
{
	char *list;
	size_t n = 0, i;
	json_t *one;

	if (!json_is_array(v) || json_array_size(v) < f->min || json_array_size(v) > f->max) {
		conf_bad(p, f, v, NULL, "a list of addresses is needed here");
		return false;
	}
	list = arena_alloc(p->arena, json_array_size(v) * of->size);
	json_array_foreach(v, i, one) {
		size_t at = conf_path_push_index(&p->path, i);
		if (json_is_string(one) && of->take(p, json_string_value(one), list + n * of->size))
			n++;
		else
			conf_bad(p, f, one, NULL, "%s", of->wrong);
		conf_path_pop(&p->path, at);
	}
	conf_store(f, base, &list, sizeof(list));
	if (f->offset != CONF_NOWHERE)
		memcpy((char *)base + f->count_offset, &n, sizeof(n));
	return true;
}

static bool take_addr(struct conf_parser *p, const char *text, void *ret)
{
	if (!addr_parse(text, 0, ret))
		return false;
	note_bind(p, ret);
	return true;
}

static bool parse_addrs(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	static const struct list_of addrs = { sizeof(struct addr), take_addr, "not an IP address with a port" };

	return parse_list(p, f, v, base, &addrs);
}

static void addrs_allowed(const struct conf_field *f, struct sbuf *out)
{
	if (f->max == 0) {
		sbuf_puts(out, "[]");
		return;
	}
	sbuf_printf(out, "%llu to %llu of \"192.0.2.1:25\", \"[2001:db8::1]:25\"", (unsigned long long)f->min,
		    (unsigned long long)f->max);
}

static json_t *addrs_schema(const struct conf_field *f)
{
	return json_pack("{s:s,s:I,s:I,s:{s:s}}", "type", "array", "minItems", (json_int_t)f->min, "maxItems",
			 (json_int_t)f->max, "items", "type", "string");
}

const struct conf_type conf_type_addrs = { "list of addresses", parse_addrs, addrs_allowed, addrs_schema };

/* ---- addresses with a prefix length ---- */

/* "192.0.2.10/24": an address of a network, not the network. */
static bool parse_prefix(const char *text, struct vip_address *ret)
{
	char ip[ADDR_TEXT_MAX];
	const char *slash = strchr(text, '/');
	struct cidr net;
	const char *why;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(ip))
		return false;
	memcpy(ip, text, (size_t)(slash - text));
	ip[slash - text] = '\0';
	if (!addr_parse_ip(ip, &ret->ip))
		return false;
	/* The length is read as that of a network all of whose bits may be set. */
	char all[ADDR_TEXT_MAX + 8];
	snprintf(all, sizeof(all), "%s%.5s", ret->ip.sa.sa_family == AF_INET6 ? "::" : "0.0.0.0", slash);
	if (!cidr_parse(all, &net, &why) || net.bits == 0 || strlen(slash) > 4)
		return false;
	ret->bits = net.bits;
	return true;
}

static bool take_prefix(struct conf_parser *p, const char *text, void *ret)
{
	UNUSED(p);
	return parse_prefix(text, ret);
}

static bool parse_prefixes(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	static const struct list_of prefixes = { sizeof(struct vip_address), take_prefix,
						 "not an IP address with the length of its network's prefix" };

	return parse_list(p, f, v, base, &prefixes);
}

static void prefixes_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_printf(out, "%llu to %llu of \"192.0.2.10/24\", \"2001:db8::10/64\"", (unsigned long long)f->min,
		    (unsigned long long)f->max);
}

const struct conf_type conf_type_prefixes = { "list of addresses with prefix lengths", parse_prefixes, prefixes_allowed,
					      addrs_schema };

/* ---- interfaces ---- */

/* As the kernel has it (dev_valid_name), without what would need quoting in a file. */
static bool parse_interface(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	size_t n = strspn(text, fine);
	if (n == 0 || n > 15 || text[n] != '\0' || strspn(text, ".") == n) {
		conf_bad(p, f, v, NULL, "not the name of a network interface");
		return false;
	}
	const char *copy = arena_strdup(p->arena, text);
	conf_store(f, base, &copy, sizeof(copy));
	return true;
}

static void interface_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "1 to 15 letters, digits, \"_\", \".\", \"-\"");
}

const struct conf_type conf_type_interface = { "network interface", parse_interface, interface_allowed,
					       conf_string_schema };

/* ---- networks ---- */

static bool parse_networks(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	struct cidr_list list = { .present = true };
	struct cidr *nets;
	json_t *one;
	size_t i;

	if (!json_is_array(v)) {
		conf_bad(p, f, v, NULL, "a list of networks is needed here");
		return false;
	}
	list.v = nets = arena_alloc(p->arena, json_array_size(v) * sizeof(*nets));
	json_array_foreach(v, i, one) {
		const char *why = "not an IP address or network";
		if (json_is_string(one) && cidr_parse(json_string_value(one), &nets[list.n], &why)) {
			list.n++;
			continue;
		}
		size_t at = conf_path_push_index(&p->path, i);
		conf_bad(p, f, one, NULL, "%s", why);
		conf_path_pop(&p->path, at);
	}
	conf_store(f, base, &list, sizeof(list));
	return true;
}

static void networks_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"192.0.2.0/24\", \"2001:db8::/32\", or an address; [] matches nothing");
}

static json_t *strings_schema(const struct conf_field *f)
{
	char *allowed = conf_field_allowed(f);
	json_t *s = json_pack("{s:s,s:s,s:{s:s}}", "type", "array", "title", allowed, "items", "type", "string");

	free(allowed);
	return s;
}

const struct conf_type conf_type_networks = { "list of networks", parse_networks, networks_allowed, strings_schema };

/* ---- the source of connections to servers ---- */

/* One address, written as "…" or a member of a list; one per family. */
static bool source_one(struct conf_parser *p, const struct conf_field *f, json_t *v, struct pool_config *pool)
{
	struct addr a;

	if (!json_is_string(v) || !addr_parse_ip(json_string_value(v), &a)) {
		conf_bad(p, f, v, NULL, "not an IP address");
		return false;
	}
	struct addr *at = a.sa.sa_family == AF_INET6 ? &pool->source_v6 : &pool->source_v4;
	if (at->sa.sa_family != 0) {
		conf_bad(p, f, v, NULL, "a second address of the same family");
		return false;
	}
	*at = a;
	return true;
}

static bool parse_source(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	struct pool_config *pool = base;
	json_t *one;
	size_t i;

	pool->source_v4 = pool->source_v6 = (struct addr) { 0 };
	if (json_is_string(v) && json_string_length(v) == 0)
		return true;
	if (!json_is_array(v))
		return source_one(p, f, v, pool);
	json_array_foreach(v, i, one) {
		size_t at = conf_path_push_index(&p->path, i);
		source_one(p, f, one, pool);
		conf_path_pop(&p->path, at);
	}
	return true;
}

static void source_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"\" (the kernel chooses), an IP address, or a list of one IPv4 and one IPv6 address");
}

static json_t *source_schema(const struct conf_field *f)
{
	return json_pack("{s:[o,o]}", "anyOf", conf_string_schema(f), strings_schema(f));
}

const struct conf_type conf_type_source = { "address", parse_source, source_allowed, source_schema };

/* ---- DNS servers ---- */

static bool parse_resolvers(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);
	struct addr a;

	if (text == NULL)
		return false;
	char *copy = arena_strdup(p->arena, text), *rest = arena_strdup(p->arena, text), *one;
	do {
		one = strsep(&rest, ",");
		if (!addr_parse(one, 53, &a)) {
			conf_bad(p, f, v, NULL, "\"%.60s\" is not an IP address with an optional port", one);
			return false;
		}
	} while (rest != NULL);
	conf_store(f, base, &copy, sizeof(copy));
	return true;
}

static void resolvers_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"127.0.0.1:53,[::1]:5353\"; null = the system's");
}

const struct conf_type conf_type_resolvers = { "addresses", parse_resolvers, resolvers_allowed, conf_string_schema };

/* ---- where a server is ---- */

/* "NAME:PORT" behind "dns:" */
static bool parse_dns(struct conf_parser *p, const char *text, struct server_config *s)
{
	const char *colon = strrchr(text, ':');
	char folded[SMTP_DOMAIN_MAX + 1];
	char *end;

	if (colon == NULL || colon[1] < '0' || colon[1] > '9')
		return false;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port == 0 || port > 65535 || text[0] == '[' ||
	    !smtp_domain_fold((struct str) { text, (size_t)(colon - text) }, folded))
		return false;
	s->source = SERVER_FROM_DNS;
	s->dns_name = arena_strdup(p->arena, folded);
	s->port = (unsigned)port;
	return true;
}

/* "_smtp._tcp.example.com": underscores are no letters of a host name, so only the part behind the two labels is
 * folded. */
static bool parse_srv(struct conf_parser *p, const char *text, struct server_config *s)
{
	const char *proto = strchr(text, '.');
	const char *domain = proto != NULL ? strchr(proto + 1, '.') : NULL;
	char folded[SMTP_DOMAIN_MAX + 1];

	if (text[0] != '_' || domain == NULL || proto[1] != '_' || proto - text > 63 || domain - proto > 64 ||
	    domain[1] == '[' || !smtp_domain_fold(str_from(domain + 1), folded))
		return false;
	for (const char *c = text; c < domain; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
			return false;
	char *name = xasprintf("%.*s%s", (int)(domain + 1 - text), text, folded);
	bool fits = strlen(name) <= SMTP_DOMAIN_MAX;
	s->source = SERVER_FROM_SRV;
	s->dns_name = arena_strdup(p->arena, name);
	free(name);
	return fits;
}

static bool parse_server_address(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);
	struct server_config *s = base;
	bool ok;

	if (text == NULL)
		return false;
	if (strncmp(text, "dns:", 4) == 0)
		ok = parse_dns(p, text + 4, s);
	else if (strncmp(text, "srv:", 4) == 0)
		ok = parse_srv(p, text + 4, s);
	else
		ok = addr_parse(text, 0, &s->addr);
	if (!ok)
		conf_bad(p, f, v, NULL, "not a server's address");
	return ok;
}

static void server_address_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"192.0.2.1:25\", \"[2001:db8::1]:25\", \"dns:NAME:PORT\" or \"srv:_SERVICE._PROTO.NAME\"");
}

const struct conf_type conf_type_server_address = { "address", parse_server_address, server_address_allowed,
						    conf_string_schema };
