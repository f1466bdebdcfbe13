/* SPDX-License-Identifier: Apache-2.0
 * Routes: which one an envelope takes, and that many domains change nothing about the answer.
 */
#include "daemon/policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/hash.h"

/* ---- helpers ---- */

#define LIST(...)                                                                                                      \
	{                                                                                                              \
		.present = true, .v = (const char *[]) { __VA_ARGS__ },                                                \
		.n = sizeof((const char *[]) { __VA_ARGS__ }) / sizeof(const char *)                                   \
	}
#define NOTHING                                                                                                        \
	{                                                                                                              \
		.present = true                                                                                        \
	}

static struct envelope envelope_of(const char *sender_domain, const char *recipient_domain)
{
	return (struct envelope) {
		.listener = "relay",
		.helo = STR("client.example"),
		.sender = STR("a@b"),
		.sender_domain = str_from(sender_domain),
		.recipient = STR("c@d"),
		.recipient_domain = str_from(recipient_domain),
	};
}

static int route(const struct policy_config *c, const struct envelope *e)
{
	struct policy *p = policy_new(c);
	int i = policy_route(p, e);

	policy_free(p);
	return i;
}

static int route_one(const struct route_config *r, const struct envelope *e)
{
	return route(&(struct policy_config) { .routes = r, .n_routes = 1 }, e);
}

/* ---- order ---- */

static void without_routes_nothing_matches(void **state)
{
	struct envelope e = envelope_of("a.example", "b.example");

	UNUSED(state);
	assert_int_equal(route(&(struct policy_config) { 0 }, &e), -1);
}

static void a_route_without_keys_matches_everything(void **state)
{
	struct envelope empty = { 0 };

	UNUSED(state);
	assert_int_equal(route_one(&(struct route_config) { 0 }, &empty), 0);
}

static void a_present_key_without_values_matches_nothing(void **state)
{
	const struct route_config routes[] = {
		{ .listener = NOTHING },           { .helo = NOTHING },          { .sender = NOTHING },
		{ .recipient = NOTHING },          { .sender_domain = NOTHING }, { .recipient_domain = NOTHING },
		{ .client = { .present = true } }, { .user = NOTHING },          { .client_certificate = NOTHING },
	};
	struct envelope e = envelope_of("a.example", "b.example");
	struct envelope null = envelope_of("", "");

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		assert_int_equal(route_one(&routes[i], &e), -1);
		assert_int_equal(route_one(&routes[i], &null), -1);
	}
}

static void the_first_match_wins_whatever_kind_of_key(void **state)
{
	const struct route_config routes[] = {
		{ .listener = LIST("other") },
		{ .recipient_domain = LIST("b.example"), .helo = LIST("nobody") },
		{ .sender_domain = LIST("a.example") },
		{ .recipient_domain = LIST("b.example") },
		{ .helo = LIST("CLIENT.example") },
		{ .name = "rest" },
	};
	const struct policy_config c = { .routes = routes, .n_routes = ARRAY_LEN(routes) };
	struct envelope both = envelope_of("a.example", "b.example");
	struct envelope recipient = envelope_of("x.example", "b.example");
	struct envelope neither = envelope_of("x.example", "x.example");

	UNUSED(state);
	assert_int_equal(route(&c, &both), 2);
	assert_int_equal(route(&c, &recipient), 3);
	assert_int_equal(route(&c, &neither), 4);
	neither.helo = STR("else");
	assert_int_equal(route(&c, &neither), 5);
	neither.listener = "other";
	assert_int_equal(route(&c, &neither), 0);
}

static void a_user_matches_whole_and_nobody_matches_none(void **state)
{
	const struct route_config r = { .user = LIST("app1", "app2") };
	struct envelope e = envelope_of("a.example", "b.example");

	UNUSED(state);
	assert_int_equal(route_one(&r, &e), -1);
	e.user = "app2";
	assert_int_equal(route_one(&r, &e), 0);
	e.user = "APP2";
	assert_int_equal(route_one(&r, &e), -1);
	e.user = "app";
	assert_int_equal(route_one(&r, &e), -1);
	e.user = "";
	assert_int_equal(route_one(&r, &e), -1);
}

static void a_certificate_matches_by_its_kinds_of_names(void **state)
{
	static const char *const names[] = { "dns:mail.example", "email:a@b.example", "sha256:00ff" };
	static const struct {
		const char *asked;
		bool matches;
	} cases[] = {
		{ "mail.example", false },       { "Common Name", true },      { "common name", false },
		{ "dns:mail.example", true },    { "dns:Common Name", false }, { "email:a@b.example", true },
		{ "email:mail.example", false }, { "sha256:00ff", true },      { "sha256:00", false },
	};
	const struct envelope_certificate c = { .common_name = "Common Name", .names = names, .n_names = 3 };
	struct envelope e = envelope_of("a.example", "b.example");

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct route_config r = { .client_certificate = LIST(cases[i].asked) };
		e.certificate = NULL;
		assert_int_equal(route_one(&r, &e), -1);
		e.certificate = &c;
		assert_int_equal(route_one(&r, &e), cases[i].matches ? 0 : -1);
	}
}

static void a_common_name_cannot_pass_for_another_kind(void **state)
{
	const struct route_config dns = { .client_certificate = LIST("dns:mail.example") };
	const struct route_config hash = { .client_certificate = LIST("sha256:00ff") };
	struct envelope e = envelope_of("a.example", "b.example");

	UNUSED(state);
	e.certificate = &(struct envelope_certificate) { .common_name = "dns:mail.example" };
	assert_int_equal(route_one(&dns, &e), -1);
	e.certificate = &(struct envelope_certificate) { .common_name = "sha256:00ff" };
	assert_int_equal(route_one(&hash, &e), -1);
}

static void all_keys_given_must_match(void **state)
{
	const struct route_config r = { .sender_domain = LIST("a.example"), .recipient_domain = LIST("b.example") };
	struct envelope e = envelope_of("a.example", "b.example");
	struct envelope wrong = envelope_of("a.example", "a.example");
	struct envelope swapped = envelope_of("b.example", "a.example");

	UNUSED(state);
	assert_int_equal(route_one(&r, &e), 0);
	assert_int_equal(route_one(&r, &wrong), -1);
	assert_int_equal(route_one(&r, &swapped), -1);
}

/* ---- domains ---- */

static void a_wildcard_matches_subdomains_and_not_the_domain(void **state)
{
	const struct route_config r = { .recipient_domain = LIST("*.example.com") };
	static const struct {
		const char *domain;
		int want;
	} rows[] = {
		{ "a.example.com", 0 },
		{ "a.b.example.com", 0 },
		{ "example.com", -1 },
		{ "aexample.com", -1 },
		{ "example.com.org", -1 },
		{ "com", -1 },
		{ "", -1 },
		{ "[1.example.com]", -1 },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct envelope e = envelope_of("", rows[i].domain);
		assert_int_equal(route_one(&r, &e), rows[i].want);
	}
}

static void an_exact_domain_does_not_match_its_subdomains(void **state)
{
	const struct route_config r = { .sender_domain = LIST("example.com", "[192.0.2.1]") };
	struct envelope exact = envelope_of("example.com", ""), sub = envelope_of("a.example.com", "");
	struct envelope literal = envelope_of("[192.0.2.1]", "");

	UNUSED(state);
	assert_int_equal(route_one(&r, &exact), 0);
	assert_int_equal(route_one(&r, &sub), -1);
	assert_int_equal(route_one(&r, &literal), 0);
}

static void exact_and_wildcard_of_one_domain_keep_route_order(void **state)
{
	const struct route_config routes[] = {
		{ .recipient_domain = LIST("*.b.example.com"), .listener = LIST("none") },
		{ .recipient_domain = LIST("*.example.com") },
		{ .recipient_domain = LIST("*.b.example.com", "b.example.com") },
		{ .recipient_domain = LIST("b.example.com", "example.com") },
	};
	const struct policy_config c = { .routes = routes, .n_routes = ARRAY_LEN(routes) };
	struct envelope deep = envelope_of("", "a.b.example.com"), top = envelope_of("", "example.com");

	UNUSED(state);
	assert_int_equal(route(&c, &deep), 1);
	assert_int_equal(route(&c, &top), 3);
}

static void the_null_sender_matches_by_its_name_only(void **state)
{
	const struct route_config by_name = { .sender = LIST("<>") }, by_domain = { .sender_domain = LIST("<>", "*.") };
	struct envelope null = envelope_of("", "b.example");

	UNUSED(state);
	null.sender = STR("<>");
	assert_int_equal(route_one(&by_name, &null), 0);
	assert_int_equal(route_one(&by_domain, &null), -1);
}

static void a_set_serves_many_routes_on_both_sides(void **state)
{
	const struct domain_set_config sets[] = {
		{ "mail", (const char *[]) { "gmail.com", "*.gmail.com", "gmail.com" }, 3 },
		{ "empty", NULL, 0 },
	};
	const struct route_config routes[] = {
		{ .recipient_domain = LIST("@unknown", "@empty") },
		{ .recipient_domain = LIST("@mail", "other.example"), .helo = LIST("nobody") },
		{ .sender_domain = LIST("@mail", "@mail") },
		{ .recipient_domain = LIST("@mail") },
	};
	const struct policy_config c = { routes, ARRAY_LEN(routes), sets, ARRAY_LEN(sets) };
	struct envelope to = envelope_of("x.example", "gmail.com"), from = envelope_of("a.gmail.com", "gmail.com");
	struct envelope other = envelope_of("x.example", "other.example");

	UNUSED(state);
	assert_int_equal(route(&c, &to), 3);
	assert_int_equal(route(&c, &from), 2);
	assert_int_equal(route(&c, &other), -1);
}

/* ---- other keys ---- */

static void whole_values_compare_without_regard_to_case(void **state)
{
	const struct route_config sender = { .sender = LIST("News@Example.com") };
	const struct route_config recipient = { .recipient = LIST("x@y", "postmaster") };
	struct envelope e = envelope_of("", "");

	UNUSED(state);
	e.sender = STR("nEWS@example.COM");
	e.recipient = STR("Postmaster");
	assert_int_equal(route_one(&sender, &e), 0);
	assert_int_equal(route_one(&recipient, &e), 0);
	e.sender = STR("a.news@example.com");
	e.recipient = STR("postmaster@x");
	assert_int_equal(route_one(&sender, &e), -1);
	assert_int_equal(route_one(&recipient, &e), -1);
}

static void client_networks_match(void **state)
{
	struct cidr nets[2];
	const char *why;
	struct addr inside, outside;
	struct envelope e = envelope_of("", "");

	UNUSED(state);
	assert_true(cidr_parse("192.0.2.0/24", &nets[0], &why) && cidr_parse("2001:db8::/32", &nets[1], &why));
	assert_true(addr_parse_ip("2001:db8::1", &inside) && addr_parse_ip("198.51.100.1", &outside));
	const struct route_config r = { .client = { .present = true, .v = nets, .n = 2 } };
	assert_int_equal(route_one(&r, &e), -1);
	e.client = &outside;
	assert_int_equal(route_one(&r, &e), -1);
	e.client = &inside;
	assert_int_equal(route_one(&r, &e), 0);
}

static void needs_recipient_only_if_a_route_looks_at_it(void **state)
{
	const struct route_config without[] = { { .sender_domain = LIST("a") }, { .helo = LIST("x") } };
	const struct route_config with[] = { { .helo = LIST("x") }, { .recipient = LIST("a@b") } };
	const struct route_config domain[] = { { .recipient_domain = LIST("a") } };
	const struct policy_config configs[] = { { .routes = without, .n_routes = 2 },
						 { .routes = with, .n_routes = 2 },
						 { .routes = domain, .n_routes = 1 } };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		struct policy *p = policy_new(&configs[i]);
		assert_int_equal(policy_needs_recipient(p), i > 0);
		policy_free(p);
	}
}

static void why_names_the_first_key_that_failed(void **state)
{
	const struct route_config routes[] = {
		{ .listener = LIST("x"), .helo = LIST("x") },
		{ .listener = LIST("relay"), .client = { .present = true } },
		{ .helo = LIST("x"), .sender = LIST("x") },
		{ .sender_domain = LIST("x"), .sender = LIST("x") },
		{ .sender_domain = LIST("a.example"), .sender = LIST("x") },
		{ .recipient_domain = LIST("a.example") },
		{ .recipient_domain = LIST("b.example"), .recipient = LIST("x") },
		{ .recipient_domain = LIST("b.example"), .sender_domain = LIST("*.example") },
	};
	static const char *const want[] = { "listener", "client",           "helo",      "sender_domain",
					    "sender",   "recipient_domain", "recipient", "matched" };
	const struct policy_config c = { .routes = routes, .n_routes = ARRAY_LEN(routes) };
	struct envelope e = envelope_of("a.example", "b.example");
	struct policy *p = policy_new(&c);

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(policy_why(p, i, &e), want[i]);
	assert_int_equal(policy_route(p, &e), 7);
	policy_free(p);
}

/* ---- many domains ---- */

#define MANY 100000

static const char **many_domains(const char *format)
{
	const char **v = xcalloc(MANY, sizeof(char *));

	for (unsigned i = 0; i < MANY; i++)
		v[i] = xasprintf(format, i);
	return v;
}

static void many_free(const char **v)
{
	for (unsigned i = 0; i < MANY; i++)
		free((void *)(uintptr_t)v[i]);
	free(v);
}

static int route_of(const struct policy *p, const char *sender_format, const char *recipient_format, unsigned i)
{
	char sender[64], recipient[64];

	snprintf(sender, sizeof(sender), sender_format, i);
	snprintf(recipient, sizeof(recipient), recipient_format, i);
	struct envelope e = envelope_of(sender, recipient);
	return policy_route(p, &e);
}

static void a_hundred_thousand_domains_in_sets_of_many_routes_each_find_their_route(void **state)
{
	const char **exact = many_domains("d%u.example"), **wild = many_domains("*.w%u.example");
	const struct domain_set_config sets[] = { { "exact", exact, MANY }, { "wild", wild, MANY } };
	const struct str_list both = LIST("@exact", "@wild"), only_wild = LIST("@wild"), none = LIST("none");
	struct route_config routes[300] = { 0 };
	const struct policy_config c = { routes, ARRAY_LEN(routes), sets, ARRAY_LEN(sets) };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(routes) - 1; i++) { /* they all name a set, none of these can match */
		routes[i].recipient_domain = both;
		routes[i].listener = none;
	}
	routes[100].listener.present = false;
	routes[100].sender_domain = only_wild;
	routes[200].listener.present = false;
	struct policy *p = policy_new(&c);
	for (unsigned i = 0; i < MANY; i += 7) {
		assert_int_equal(route_of(p, "x%u", "d%u.example", i), 200);
		assert_int_equal(route_of(p, "x%u", "a.w%u.example", i), 200);
		assert_int_equal(route_of(p, "b.c.w%u.example", "d%u.example", i), 100);
		assert_int_equal(route_of(p, "x%u", "w%u.example", i), 299);
		assert_int_equal(route_of(p, "x%u", "a.d%u.example", i), 299);
	}
	policy_free(p);
	many_free(exact);
	many_free(wild);
}

static void a_hundred_thousand_routes_of_one_domain_each_are_told_apart(void **state)
{
	const char **domains = many_domains("d%u.example");
	struct route_config *routes = xcalloc(MANY, sizeof(*routes));
	const struct policy_config c = { .routes = routes, .n_routes = MANY };

	UNUSED(state);
	for (size_t i = 0; i < MANY; i++)
		routes[i].recipient_domain = (struct str_list) { true, &domains[i], 1 };
	struct policy *p = policy_new(&c);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(route_of(p, "x%u", "d%u.example", i), i);
	assert_int_equal(route_of(p, "x%u", "d%u.example", MANY), -1);
	policy_free(p);
	many_free(domains);
	free(routes);
}

/* ---- against the plain way ---- */

static const char *const names[] = { "a", "b", "a.b", "b.a", "a.a.b", "*.a", "*.b", "*.a.b", "*.a.a.b", "@s", "@t" };
#define N_NAMES ARRAY_LEN(names)
#define N_DOMAINS 5 /* of them are domains */

static bool plain_domain_matches(const struct policy_config *c, const struct str_list *l, struct str d)
{
	for (size_t i = 0; i < l->n; i++) {
		struct str v = str_from(l->v[i]);
		for (size_t s = 0; v.p[0] == '@' && s < c->n_sets; s++) {
			struct str_list set = { true, c->sets[s].domains, c->sets[s].n };
			if (strcmp(c->sets[s].name, v.p + 1) == 0 && plain_domain_matches(c, &set, d))
				return true;
		}
		bool tail = v.p[0] == '*' && d.n > v.n - 1 && memcmp(d.p + d.n - (v.n - 1), v.p + 1, v.n - 1) == 0;
		if (tail || str_eq(v, d))
			return true;
	}
	return false;
}

static int plain_route(const struct policy_config *c, const struct envelope *e)
{
	for (size_t i = 0; i < c->n_routes; i++) {
		const struct route_config *r = &c->routes[i];
		if ((!r->sender_domain.present || plain_domain_matches(c, &r->sender_domain, e->sender_domain)) &&
		    (!r->recipient_domain.present ||
		     plain_domain_matches(c, &r->recipient_domain, e->recipient_domain)))
			return (int)i;
	}
	return -1;
}

static struct str_list random_list(const char **storage, size_t max, size_t n_names)
{
	struct str_list l = { random_u64() % 4 != 0, storage, random_u64() % (max + 1) };

	for (size_t i = 0; i < l.n; i++)
		storage[i] = names[random_u64() % n_names];
	return l;
}

static void random_policies_agree_with_trying_every_route(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 3000; round++) {
		const char *storage[2][8][4], *members[2][4];
		struct domain_set_config sets[2] = { { "s", members[0], 0 }, { "t", members[1], 0 } };
		struct route_config routes[8] = { 0 };
		const struct policy_config c = { routes, random_u64() % 9, sets, 2 };
		for (size_t i = 0; i < 2; i++)
			sets[i].n = random_list(members[i], 3, N_NAMES - 2).n;
		for (size_t i = 0; i < c.n_routes; i++) {
			routes[i].sender_domain = random_list(storage[0][i], 3, N_NAMES);
			routes[i].recipient_domain = random_list(storage[1][i], 3, N_NAMES);
		}
		struct policy *p = policy_new(&c);
		for (size_t k = 0; k < N_DOMAINS * N_DOMAINS; k++) {
			struct envelope e = envelope_of(names[k % N_DOMAINS], names[k / N_DOMAINS]);
			assert_int_equal(policy_route(p, &e), plain_route(&c, &e));
		}
		policy_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_routes_nothing_matches),
		cmocka_unit_test(a_route_without_keys_matches_everything),
		cmocka_unit_test(a_present_key_without_values_matches_nothing),
		cmocka_unit_test(the_first_match_wins_whatever_kind_of_key),
		cmocka_unit_test(all_keys_given_must_match),
		cmocka_unit_test(a_user_matches_whole_and_nobody_matches_none),
		cmocka_unit_test(a_certificate_matches_by_its_kinds_of_names),
		cmocka_unit_test(a_common_name_cannot_pass_for_another_kind),
		cmocka_unit_test(a_wildcard_matches_subdomains_and_not_the_domain),
		cmocka_unit_test(an_exact_domain_does_not_match_its_subdomains),
		cmocka_unit_test(exact_and_wildcard_of_one_domain_keep_route_order),
		cmocka_unit_test(the_null_sender_matches_by_its_name_only),
		cmocka_unit_test(a_set_serves_many_routes_on_both_sides),
		cmocka_unit_test(whole_values_compare_without_regard_to_case),
		cmocka_unit_test(client_networks_match),
		cmocka_unit_test(needs_recipient_only_if_a_route_looks_at_it),
		cmocka_unit_test(why_names_the_first_key_that_failed),
		cmocka_unit_test(a_hundred_thousand_domains_in_sets_of_many_routes_each_find_their_route),
		cmocka_unit_test(a_hundred_thousand_routes_of_one_domain_each_are_told_apart),
		cmocka_unit_test(random_policies_agree_with_trying_every_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
