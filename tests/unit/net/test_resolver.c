/* SPDX-License-Identifier: Apache-2.0
 * Look-ups against a DNS server on loopback.
 */
#include "tests/unit/net/dns_responder.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/net/resolver.h"
#include "daemon/net/resolver_channel.h"

struct scene {
	struct loop *loop;
	struct dns_responder dns;
	struct resolver *resolver;
	/* the answer, as text: "address priority/weight …" */
	unsigned n_answers;
	int status;
	unsigned ttl;
	bool partial;
	struct sbuf text;
};

static void on_answer(const struct resolver_answer *answer, void *arg)
{
	struct scene *sc = arg;
	char text[ADDR_TEXT_MAX];

	sc->n_answers++;
	sc->status = answer->status;
	sc->ttl = answer->ttl;
	sc->partial = answer->partial;
	sbuf_reset(&sc->text);
	sbuf_puts(&sc->text, "");
	for (size_t i = 0; i < answer->n_hosts; i++) {
		const struct resolver_host *h = &answer->hosts[i];
		sbuf_printf(&sc->text, "%s%s %u/%u", i > 0 ? ", " : "", addr_format(&h->addr, text), h->priority,
			    h->weight);
	}
}

static void scene_init(struct scene *sc, const struct dns_record *records, size_t n)
{
	*sc = (struct scene) { .loop = loop_new() };
	dns_start(&sc->dns, sc->loop);
	sc->dns.records = records;
	sc->dns.n_records = n;
	sc->resolver = resolver_new(sc->loop, sc->dns.servers);
	assert_non_null(sc->resolver);
}

static void scene_fini(struct scene *sc)
{
	resolver_free(sc->resolver);
	dns_stop(&sc->dns);
	loop_free(sc->loop);
	sbuf_fini(&sc->text);
}

static void look_up_host(struct scene *sc, const char *name)
{
	unsigned before = sc->n_answers;

	assert_non_null(resolver_lookup_host(sc->resolver, name, 25, on_answer, sc));
	assert_int_equal(sc->n_answers, before); /* never from inside the call */
	AWAIT(sc->loop, sc->n_answers == before + 1);
}

static void look_up_srv(struct scene *sc, const char *name)
{
	unsigned before = sc->n_answers;

	assert_non_null(resolver_lookup_srv(sc->resolver, name, on_answer, sc));
	assert_int_equal(sc->n_answers, before);
	AWAIT(sc->loop, sc->n_answers == before + 1);
}

static void a_host_has_all_its_addresses_of_both_families_sorted_without_duplicates(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = {
		{ "mta.test", DNS_AAAA, 300, "2001:db8::1", 0, 0, 0, 0 },
		{ "mta.test", DNS_A, 60, "192.0.2.20", 0, 0, 0, 0 },
		{ "mta.test", DNS_A, 90, "192.0.2.3", 0, 0, 0, 0 },
		{ "mta.test", DNS_A, 90, "192.0.2.3", 0, 0, 0, 0 },
	};
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_host(&sc, "mta.test");
	assert_int_equal(sc.status, 0);
	assert_false(sc.partial);
	assert_int_equal(sc.ttl, 60);
	assert_string_equal(sc.text.p, "192.0.2.3:25 0/0, 192.0.2.20:25 0/0, [2001:db8::1]:25 0/0");
	scene_fini(&sc);
}

static void one_family_is_enough(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "v4.test", DNS_A, 60, "192.0.2.1", 0, 0, 0, 0 } };
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_host(&sc, "v4.test");
	assert_int_equal(sc.status, 0);
	assert_false(sc.partial);
	assert_string_equal(sc.text.p, "192.0.2.1:25 0/0");
	scene_fini(&sc);
}

static void a_family_that_cannot_be_found_out_makes_the_answer_partial(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = {
		{ "half.test", DNS_A, 60, "192.0.2.1", 0, 0, 0, 0 },
		{ .name = "half.test", .type = DNS_AAAA, .rcode = 2 }, /* SERVFAIL */
	};
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_host(&sc, "half.test");
	assert_int_equal(sc.status, 0);
	assert_true(sc.partial);
	assert_string_equal(sc.text.p, "192.0.2.1:25 0/0");
	scene_fini(&sc);
}

static void a_name_that_does_not_exist_is_told_from_one_that_cannot_be_looked_up(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = {
		{ .name = "broken.test", .type = DNS_A, .rcode = 2 },
		{ .name = "broken.test", .type = DNS_AAAA, .rcode = 2 },
	};
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_host(&sc, "nothing.test");
	assert_int_equal(sc.status, ARES_ENOTFOUND);
	look_up_host(&sc, "broken.test");
	assert_int_not_equal(sc.status, 0);
	assert_int_not_equal(sc.status, ARES_ENOTFOUND);
	assert_int_not_equal(strlen(resolver_strerror(sc.status)), 0);
	scene_fini(&sc);
}

static void srv_targets_bring_port_priority_and_weight(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = {
		{ "_smtp._tcp.test", DNS_SRV, 120, "a.test", 10, 60, 2525, 0 },
		{ "_smtp._tcp.test", DNS_SRV, 40, "b.test", 20, 5, 25, 0 },
		{ "a.test", DNS_A, 300, "192.0.2.1", 0, 0, 0, 0 },
		{ "b.test", DNS_A, 300, "192.0.2.2", 0, 0, 0, 0 },
		{ "b.test", DNS_AAAA, 300, "2001:db8::2", 0, 0, 0, 0 },
	};
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_srv(&sc, "_smtp._tcp.test");
	assert_int_equal(sc.status, 0);
	assert_int_equal(sc.ttl, 40);
	assert_string_equal(sc.text.p, "192.0.2.1:2525 10/60, 192.0.2.2:25 20/5, [2001:db8::2]:25 20/5");
	scene_fini(&sc);
}

static void a_short_ttl_of_a_target_counts(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = {
		{ "_smtp._tcp.test", DNS_SRV, 120, "a.test", 10, 60, 2525, 0 },
		{ "a.test", DNS_A, 7, "192.0.2.1", 0, 0, 0, 0 },
	};
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_srv(&sc, "_smtp._tcp.test");
	assert_int_equal(sc.ttl, 7);
	scene_fini(&sc);
}

static void an_srv_target_that_is_a_dot_means_no_such_service(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "_smtp._tcp.test", DNS_SRV, 120, ".", 0, 0, 0, 0 } };
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	look_up_srv(&sc, "_smtp._tcp.test");
	assert_int_equal(sc.status, ARES_ENODATA);
	scene_fini(&sc);
}

static void a_cancelled_query_never_calls_back(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "mta.test", DNS_A, 60, "192.0.2.1", 0, 0, 0, 0 } };
	struct scene sc;

	scene_init(&sc, records, ARRAY_LEN(records));
	resolver_cancel(resolver_lookup_host(sc.resolver, "mta.test", 25, on_answer, &sc));
	resolver_cancel(resolver_lookup_srv(sc.resolver, "_smtp._tcp.test", on_answer, &sc));
	look_up_host(&sc, "mta.test"); /* asked later, answered later: the others have had their time */
	assert_int_equal(sc.n_answers, 1);
	scene_fini(&sc);
}

static void freeing_the_resolver_ends_what_is_under_way(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc, NULL, 0);
	assert_non_null(resolver_lookup_host(sc.resolver, "mta.test", 25, on_answer, &sc));
	assert_non_null(resolver_lookup_srv(sc.resolver, "_smtp._tcp.test", on_answer, &sc));
	resolver_free(sc.resolver);
	sc.resolver = NULL;
	loop_turn(sc.loop, false);
	assert_int_equal(sc.n_answers, 0);
	scene_fini(&sc);
}

/* A chroot may have no hosts file, or none that names localhost. */
static bool hosts_file_names_localhost(void)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/etc/hosts", "r");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = strncmp(line, "127.0.0.1", 9) == 0 && strstr(line, "localhost") != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

static void the_hosts_file_is_honoured(void **state)
{
	UNUSED(state);
	struct scene sc;

	if (!hosts_file_names_localhost())
		skip();
	scene_init(&sc, NULL, 0);
	look_up_host(&sc, "localhost");
	assert_int_equal(sc.status, 0);
	assert_non_null(strstr(sc.text.p, "127.0.0.1:25"));
	scene_fini(&sc);
}

static void servers_that_cannot_be_parsed_are_refused(void **state)
{
	UNUSED(state);
	struct loop *l = loop_new();

	assert_null(resolver_new(l, "not an address"));
	loop_free(l);
}

static void write_file(const char *path, const char *text, time_t mtime)
{
	struct timespec times[2] = { { .tv_sec = mtime }, { .tv_sec = mtime } };
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void assert_server(struct resolver_channel *c, const char *want)
{
	struct ares_addr_port_node *servers = NULL;
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(ares_get_servers_ports(c->ares, &servers), ARES_SUCCESS);
	assert_non_null(servers);
	assert_non_null(inet_ntop(servers->family, &servers->addr, text, sizeof(text)));
	assert_string_equal(text, want);
	ares_free_data(servers);
}

static void a_changed_resolv_conf_is_taken_over(void **state)
{
	UNUSED(state);
	char file[] = "/tmp/postroad-resolv-XXXXXX";
	struct loop *l = loop_new();
	struct resolver_channel c;

	close(mkstemp(file));
	write_file(file, "nameserver 192.0.2.1\n", 1000);
	assert_true(resolver_channel_open(&c, l, NULL, file));
	assert_server(&c, "192.0.2.1");
	write_file(file, "nameserver 192.0.2.2\n", 1000); /* no new time: not looked at */
	resolver_channel_refresh(&c);
	assert_server(&c, "192.0.2.1");
	write_file(file, "nameserver 192.0.2.3\n", 2000);
	resolver_channel_refresh(&c);
	assert_server(&c, "192.0.2.3");
	resolver_channel_close(&c);
	assert_true(resolver_channel_open(&c, l, "192.0.2.9", file));
	write_file(file, "nameserver 192.0.2.4\n", 3000); /* servers of our own have nothing to do with the file */
	resolver_channel_refresh(&c);
	assert_server(&c, "192.0.2.9");
	resolver_channel_close(&c);
	unlink(file);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_has_all_its_addresses_of_both_families_sorted_without_duplicates),
		cmocka_unit_test(one_family_is_enough),
		cmocka_unit_test(a_family_that_cannot_be_found_out_makes_the_answer_partial),
		cmocka_unit_test(a_name_that_does_not_exist_is_told_from_one_that_cannot_be_looked_up),
		cmocka_unit_test(srv_targets_bring_port_priority_and_weight),
		cmocka_unit_test(a_short_ttl_of_a_target_counts),
		cmocka_unit_test(an_srv_target_that_is_a_dot_means_no_such_service),
		cmocka_unit_test(a_cancelled_query_never_calls_back),
		cmocka_unit_test(freeing_the_resolver_ends_what_is_under_way),
		cmocka_unit_test(the_hosts_file_is_honoured),
		cmocka_unit_test(servers_that_cannot_be_parsed_are_refused),
		cmocka_unit_test(a_changed_resolv_conf_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
