/* SPDX-License-Identifier: Apache-2.0
 * Compares two parsed configurations value by value, along the tables. Used by unit tests and by the fuzzer.
 */
#ifndef POSTROAD_TESTS_TYPED_EQUAL_H
#define POSTROAD_TESTS_TYPED_EQUAL_H

#include "daemon/conf/conf_schema.h"

static inline bool equal_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static inline bool equal_strings(const char *const *a, const char *const *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!equal_text(a[i], b[i]))
			return false;
	return true;
}

static inline bool equal_list(const void *pa, const void *pb)
{
	struct str_list a, b;

	memcpy(&a, pa, sizeof(a));
	memcpy(&b, pb, sizeof(b));
	return a.present == b.present && a.n == b.n && equal_strings(a.v, b.v, a.n);
}

static inline bool equal_networks(const void *pa, const void *pb)
{
	struct cidr_list a, b;

	memcpy(&a, pa, sizeof(a));
	memcpy(&b, pb, sizeof(b));
	if (a.present != b.present || a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (!addr_eq_ip(&a.v[i].base, &b.v[i].base) || a.v[i].bits != b.v[i].bits)
			return false;
	return true;
}

static inline bool equal_pointer_text(const void *pa, const void *pb)
{
	const char *a, *b;

	memcpy(&a, pa, sizeof(a));
	memcpy(&b, pb, sizeof(b));
	return equal_text(a, b);
}

static inline bool equal_server_address(const struct server_config *a, const struct server_config *b)
{
	return a->source == b->source && equal_text(a->dns_name, b->dns_name) && a->port == b->port &&
	       (a->source != SERVER_FROM_ADDRESS || addr_eq(&a->addr, &b->addr));
}

static inline bool equal_source(const struct pool_config *a, const struct pool_config *b)
{
	return a->source_v4.sa.sa_family == b->source_v4.sa.sa_family &&
	       a->source_v6.sa.sa_family == b->source_v6.sa.sa_family &&
	       (a->source_v4.sa.sa_family == 0 || addr_eq_ip(&a->source_v4, &b->source_v4)) &&
	       (a->source_v6.sa.sa_family == 0 || addr_eq_ip(&a->source_v6, &b->source_v6));
}

/* Bytes of a member that can be compared as they are; 0 = it cannot. */
static inline size_t plain_size(const struct conf_type *t)
{
	if (t == &conf_type_uint || t == &conf_type_enum || t == &conf_type_enum_or_object || t == &conf_type_set ||
	    t == &conf_type_xclient)
		return sizeof(int);
	if (t == &conf_type_count || t == &conf_type_duration || t == &conf_type_size || t == &conf_type_memory ||
	    t == &conf_type_data_rate || t == &conf_type_time)
		return 8;
	if (t == &conf_type_rate)
		return sizeof(struct rate);
	return t == &conf_type_flag ? sizeof(bool) : 0;
}

static inline const char *typed_difference(const struct conf_object *o, const void *a, const void *b);

static inline const char *elements_difference(const struct conf_field *f, const void *a, const void *b)
{
	const char *pa, *pb;
	size_t na, nb;

	memcpy(&pa, (const char *)a + f->offset, sizeof(pa));
	memcpy(&pb, (const char *)b + f->offset, sizeof(pb));
	memcpy(&na, (const char *)a + f->count_offset, sizeof(na));
	memcpy(&nb, (const char *)b + f->count_offset, sizeof(nb));
	if (na != nb)
		return f->name;
	for (size_t i = 0; i < na; i++) {
		if (f->type == &conf_type_addrs) {
			if (!addr_eq((const struct addr *)(const void *)pa + i,
				     (const struct addr *)(const void *)pb + i))
				return f->name;
			continue;
		}
		size_t size = f->type == &conf_type_sets ? sizeof(struct domain_set_config) : f->sub->size;
		const void *ea = pa + i * size, *eb = pb + i * size;
		if (!equal_pointer_text(ea, eb))
			return f->name;
		if (f->type == &conf_type_sets) {
			const struct domain_set_config *sa = ea, *sb = eb;
			if (sa->n != sb->n || !equal_strings(sa->domains, sb->domains, sa->n))
				return f->name;
			continue;
		}
		const char *inner = typed_difference(f->sub, ea, eb);
		if (inner != NULL)
			return inner;
	}
	return NULL;
}

static inline bool equal_field(const struct conf_field *f, const void *a, const void *b)
{
	const void *pa = (const char *)a + f->offset, *pb = (const char *)b + f->offset;
	const struct conf_type *t = f->type;

	if (plain_size(t) != 0)
		return memcmp(pa, pb, plain_size(t)) == 0;
	if (t == &conf_type_networks)
		return equal_networks(pa, pb);
	if (t == &conf_type_names || t == &conf_type_helos || t == &conf_type_mailboxes || t == &conf_type_domains)
		return equal_list(pa, pb);
	if (t == &conf_type_server_address)
		return equal_server_address(a, b);
	if (t == &conf_type_source)
		return equal_source(a, b);
	return equal_pointer_text(pa, pb);
}

/* The name of the first field that differs; NULL = all equal. "Was written" flags are not looked at. */
static inline const char *typed_difference(const struct conf_object *o, const void *a, const void *b)
{
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct conf_field *f = &o->fields[i];
		const char *inner = NULL;
		if (f->offset == CONF_NOWHERE || f->type == &conf_type_document)
			continue;
		if (f->type == &conf_type_object)
			inner = typed_difference(f->sub, (const char *)a + f->offset, (const char *)b + f->offset);
		else if (f->type == &conf_type_map || f->type == &conf_type_list || f->type == &conf_type_sets ||
			 f->type == &conf_type_addrs)
			inner = elements_difference(f, a, b);
		else if (!equal_field(f, a, b))
			inner = f->name;
		if (inner != NULL)
			return inner;
	}
	return NULL;
}

#endif
