/* SPDX-License-Identifier: Apache-2.0
 * The turn of each second, with two nodes in one process: each has its registry and its ticket keys, the network is a
 * pair of buffers, and a turn is made by hand.
 */
#include "tests/unit/net/tls_ends.h"
#include "tests/unit/pool/registry_fixture.h"

#include "daemon/api/share.h"

#define NODES 2

struct wire {
	struct sbuf last[NODES]; /* of each node; what was sent last */
	bool cut;                /* nothing passes */
};

struct one {
	unsigned index;
	struct wire *wire;
	struct scene scene; /* its registry, on a loop of its own */
	struct tls_tickets *tickets;
	struct report_view *view;
	struct share *share;
	struct sbuf told; /* "event n2 gone>ready", "warn key: text", "over key" */
	unsigned vips;    /* it says that it has the VIP */
	bool voter_only;
};

/* ---- the network ---- */

static uint32_t net_id(void *arg)
{
	return ((const struct one *)arg)->index + 1;
}

static int net_send(void *arg, struct str bytes)
{
	struct one *o = arg;

	sbuf_reset(&o->wire->last[o->index]);
	sbuf_add(&o->wire->last[o->index], bytes.p, bytes.n);
	return 0;
}

static struct str net_heard(void *arg, uint32_t id)
{
	const struct one *o = arg;
	const struct sbuf *b = &o->wire->last[id - 1];

	return o->wire->cut ? (struct str) { NULL, 0 } : (struct str) { b->p, b->n };
}

static size_t net_members(void *arg, struct report_member *list, size_t max)
{
	UNUSED(arg);
	assert_true(max >= NODES);
	for (uint32_t i = 0; i < NODES; i++) {
		list[i].id = i + 1;
		snprintf(list[i].name, sizeof(list[i].name), "n%u", i + 1);
	}
	return NODES;
}

static void net_fill(void *arg, struct node_report *r)
{
	const struct one *o = arg;

	r->voter_only = o->voter_only;
	if (o->vips == 0)
		return;
	r->n_vips = 1;
	r->vips[0] = (struct report_vip) { .name = "out", .up = true, .kernel = true };
}

/* ---- the daemon around it ---- */

static void env_fill(struct node_report *r, void *arg)
{
	UNUSED(arg);
	r->state = REPORT_READY;
	r->ready = true;
	r->revision = 1;
}

static void env_warn(const char *key, const char *text, void *arg)
{
	struct one *o = arg;

	if (text != NULL)
		sbuf_printf(&o->told, "warn %s: %s\n", key, text);
	else
		sbuf_printf(&o->told, "over %s\n", key);
}

static void env_changed(const struct report_row *row, enum report_state before, void *arg)
{
	struct one *o = arg;

	sbuf_printf(&o->told, "event %s %s>%s\n", row->name, report_state_names[before],
		    report_state_names[row->state]);
}

static void join(struct one *o)
{
	struct share_net net = {
		.arg = o, .id = net_id, .send = net_send, .heard = net_heard, .members = net_members, .fill = net_fill
	};

	share_set_net(o->share, &net);
}

static void one_start(struct one *o, struct wire *w, unsigned index)
{
	*o = (struct one) { .index = index, .wire = w, .tickets = tls_tickets_new(), .view = report_view_new() };
	sbuf_puts(&o->told, "");
	scene_init(&o->scene, NULL);
	config_add(&o->scene.config, "a", &o->scene.smtp.addr);
	struct share_env env = { .loop = o->scene.loop,
				 .node = index == 0 ? "n1" : "n2",
				 .started_wall = 1000,
				 .registry = o->scene.registry,
				 .tickets = o->tickets,
				 .view = o->view,
				 .fill = env_fill,
				 .warn = env_warn,
				 .node_changed = env_changed,
				 .arg = o };
	o->share = share_new(&env);
}

static void one_stop(struct one *o)
{
	share_free(o->share);
	scene_fini(&o->scene);
	report_view_free(o->view);
	tls_tickets_unref(o->tickets);
	sbuf_fini(&o->told);
}

struct pair {
	struct wire wire;
	struct one n[NODES];
};

static void pair_start(struct pair *p)
{
	p->wire = (struct wire) { 0 };
	for (unsigned i = 0; i < NODES; i++)
		one_start(&p->n[i], &p->wire, i);
	for (unsigned i = 0; i < NODES; i++)
		join(&p->n[i]);
}

static void pair_stop(struct pair *p)
{
	for (unsigned i = 0; i < NODES; i++)
		one_stop(&p->n[i]);
	for (unsigned i = 0; i < NODES; i++)
		report_wipe(&p->wire.last[i]);
}

/* Each hears what the other said at its last turn. */
static void turns(struct pair *p, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		for (unsigned i = 0; i < NODES; i++)
			share_turn(p->n[i].share);
}

/* ---- the table ---- */

static void a_node_alone_knows_itself(void **state)
{
	UNUSED(state);
	struct wire w = { 0 };
	struct one o;
	struct report_row row;

	one_start(&o, &w, 0);
	assert_true(report_view_find(o.view, "n1", 0, &row));
	assert_true(row.own && row.state == REPORT_READY && row.report->sequence == 1);
	assert_int_equal(w.last[0].n, 0);
	assert_string_equal(o.told.p, "");
	one_stop(&o);
}

static void two_nodes_hear_of_each_other_and_say_so_once(void **state)
{
	UNUSED(state);
	struct pair p;
	struct report_row row;

	pair_start(&p);
	turns(&p, 3);
	assert_string_equal(p.n[0].told.p, "event n2 gone>ready\n");
	assert_string_equal(p.n[1].told.p, "event n1 gone>ready\n");
	assert_true(report_view_find(p.n[0].view, "n2", loop_now_ms(p.n[0].scene.loop), &row));
	assert_true(row.state == REPORT_READY && row.report->revision == 1);
	pair_stop(&p);
}

static void what_cannot_be_read_is_a_warning_until_it_can(void **state)
{
	UNUSED(state);
	struct pair p;

	pair_start(&p);
	turns(&p, 2);
	sbuf_reset(&p.n[0].told);
	sbuf_reset(&p.wire.last[1]);
	sbuf_puts(&p.wire.last[1], "nonsense");
	share_turn(p.n[0].share);
	share_turn(p.n[0].share);
	assert_string_equal(p.n[0].told.p, "warn report/n2: what node n2 says of itself cannot be read here\n");
	turns(&p, 2);
	assert_non_null(strstr(p.n[0].told.p, "over report/n2\n"));
	pair_stop(&p);
}

static void a_node_that_leaves_the_cluster_is_alone_again(void **state)
{
	UNUSED(state);
	struct pair p;
	struct report_row row;

	pair_start(&p);
	turns(&p, 2);
	share_set_net(p.n[1].share, NULL);
	assert_false(report_view_find(p.n[1].view, "n1", 0, &row));
	assert_true(report_view_find(p.n[1].view, "n2", 0, &row) && row.own);
	pair_stop(&p);
}

/* ---- servers ---- */

static enum report_verdict_state heard_verdict;

static void on_verdict(const char *node, enum report_verdict_state state, unsigned weight, void *arg)
{
	UNUSED(node);
	UNUSED(weight);
	heard_verdict = state;
	++*(unsigned *)arg;
}

/* What `at` was told of its server by the other one. */
static enum report_verdict_state verdict_heard_by(struct one *at)
{
	unsigned n = 0;

	report_view_verdicts(at->view, report_server_key("mta", "a"), loop_now_ms(at->scene.loop), on_verdict, &n);
	assert_int_equal(n, 1);
	return heard_verdict;
}

static void a_fresh_node_takes_over_what_the_other_knows(void **state)
{
	UNUSED(state);
	struct pair p;
	struct scene *old = &p.n[0].scene, *fresh = &p.n[1].scene;

	pair_start(&p);
	scene_apply(old, &old->config);
	AWAIT_STATE(old, "a", SERVER_UP);
	fresh->smtp.script.banner = NULL; /* its check takes long */
	scene_apply(fresh, &fresh->config);
	assert_int_equal(scene_state(fresh, "a"), SERVER_UNKNOWN);
	turns(&p, 2);
	assert_int_equal(scene_state(fresh, "a"), SERVER_UP);
	assert_int_equal(verdict_heard_by(&p.n[1]), REPORT_UP);
	/* It says so to nobody: it does not know. */
	turns(&p, 1);
	assert_int_equal(verdict_heard_by(&p.n[0]), REPORT_UNKNOWN);
	pair_stop(&p);
}

static void what_the_other_finds_down_is_not_taken_over(void **state)
{
	UNUSED(state);
	struct pair p;
	struct scene *old = &p.n[0].scene, *fresh = &p.n[1].scene;

	pair_start(&p);
	smtp_stop(&old->smtp);
	scene_apply(old, &old->config);
	AWAIT_STATE(old, "a", SERVER_DOWN);
	fresh->smtp.script.banner = NULL;
	scene_apply(fresh, &fresh->config);
	turns(&p, 2);
	assert_int_equal(verdict_heard_by(&p.n[1]), REPORT_DOWN);
	assert_int_equal(scene_state(fresh, "a"), SERVER_UNKNOWN);
	pair_stop(&p);
}

static void every_state_has_its_word(void **state)
{
	UNUSED(state);
	assert_string_equal(share_verdict_name(REPORT_DRAINED), "drain");
	assert_string_equal(share_verdict_name(REPORT_WARMING), "starting");
	assert_string_equal(share_verdict_name((enum report_verdict_state)99), "unknown");
}

/* ---- ticket keys ---- */

static struct tls_server *server_with(struct tls_tickets *keys, const struct made *cert)
{
	struct tls_certificate *c = made_certificate(cert);
	struct tls_server_conf conf = { .id = "in", .certificates = &c, .n_certificates = 1, .tickets = keys };
	char *why = NULL;
	struct tls_server *s = tls_server_new(&conf, &why);

	assert_non_null(s);
	tls_certificate_unref(c);
	return s;
}

static bool resumes(struct tls_server *s, struct tls_client *c)
{
	struct stream_tls_info info;
	struct ends e;

	ends_begin(&e, s, c, "mail.example");
	ENDS_UNTIL(&e, ends_settled(&e));
	assert_int_equal(e.c.tls + e.s.tls, 2);
	ends_talk(&e);
	assert_true(stream_tls_info(&e.s.st, &info));
	ends_close(&e);
	return info.resumed;
}

static size_t keys_of(const struct one *o, uint8_t out[TLS_TICKETS_EXPORT_MAX])
{
	memset(out, 0, TLS_TICKETS_EXPORT_MAX);
	return tls_tickets_export(o->tickets, out);
}

static bool same_keys(const struct pair *p)
{
	uint8_t a[TLS_TICKETS_EXPORT_MAX], b[TLS_TICKETS_EXPORT_MAX];

	return keys_of(&p->n[0], a) == keys_of(&p->n[1], b) && memcmp(a, b, sizeof(a)) == 0;
}

static void a_session_resumes_on_the_other_node(void **state)
{
	UNUSED(state);
	struct made cert = made((struct made_like) { .cn = "mail.example", .san = "DNS:mail.example" });
	struct tls_client_conf cc = { .sessions_max = 4 };
	struct tls_server *s[NODES];
	char *why = NULL;
	struct tls_client *c = tls_client_new(&cc, &why), *d = tls_client_new(&cc, &why);
	struct pair p;

	pair_start(&p);
	p.wire.cut = true;
	for (int i = 0; i < NODES; i++)
		s[i] = server_with(p.n[i].tickets, &cert);
	/* Sessions that each sealed before it knew of the other; then one that is not cut off any more. */
	assert_false(resumes(s[0], c));
	assert_false(resumes(s[1], d));
	p.wire.cut = false;
	turns(&p, 2);
	assert_true(same_keys(&p));
	assert_true(resumes(s[1], c));
	assert_true(resumes(s[0], d));
	assert_true(resumes(s[0], c));
	for (int i = 0; i < NODES; i++)
		tls_server_unref(s[i]);
	tls_client_unref(c);
	tls_client_unref(d);
	made_free(&cert);
	pair_stop(&p);
}

/* What n2 sends when n1 sends a key of that age: *ret is to be freed. */
static void answer_to_key_of_age(struct pair *p, uint32_t age_s, struct node_report *ret)
{
	struct node_report r = { .id = 1, .started_ms = 7, .sequence = age_s, .state = REPORT_READY };
	const struct sbuf *said = &p->wire.last[1];

	snprintf(r.node, sizeof(r.node), "n1");
	r.keys = (struct ticket_keys) { .n = 1, .list = { { .serial = 5, .maker = 1, .age_s = age_s } } };
	memset(r.keys.list[0].bytes, 'k', TICKET_KEY_LEN);
	report_encode(&r, &p->wire.last[0]);
	share_turn(p->n[1].share);
	assert_true(report_decode((struct str) { said->p, said->n }, ret));
}

static void keys_that_nobody_renews_are_renewed(void **state)
{
	UNUSED(state);
	uint8_t bytes[TLS_TICKETS_EXPORT_MAX];
	struct node_report r;
	struct pair p;

	pair_start(&p);
	answer_to_key_of_age(&p, 3000, &r); /* due, but it is n1 who makes keys */
	assert_true(r.keys.list[0].serial == 5 && r.keys.list[0].maker == 1 && r.keys.list[0].age_s == 3000);
	(void)keys_of(&p.n[1], bytes);
	assert_memory_equal(bytes + TLS_TICKETS_HEAD_LEN, r.keys.list[0].bytes, TICKET_KEY_LEN);
	report_fini(&r);
	answer_to_key_of_age(&p, 3601, &r);
	assert_true(r.keys.list[0].serial == 6 && r.keys.list[0].maker == 2 && r.keys.list[0].age_s == 0);
	assert_true(r.keys.list[1].serial == 5);
	(void)keys_of(&p.n[1], bytes);
	assert_memory_equal(bytes + TLS_TICKETS_HEAD_LEN, r.keys.list[0].bytes, TICKET_KEY_LEN);
	assert_int_not_equal(r.keys.list[0].bytes[0] == 'k' && r.keys.list[0].bytes[1] == 'k', 1);
	report_fini(&r);
	pair_stop(&p);
}

static void the_own_row_holds_no_keys(void **state)
{
	UNUSED(state);
	struct pair p;
	struct report_row row;

	pair_start(&p);
	turns(&p, 2);
	assert_true(report_view_find(p.n[0].view, "n1", 0, &row));
	assert_int_equal(row.report->keys.n, 0); /* its own row is for showing */
	pair_stop(&p);
}

/* ---- alarms ---- */

static void an_alarm_is_told_when_it_begins_and_when_it_is_over(void **state)
{
	UNUSED(state);
	struct pair p;

	pair_start(&p);
	p.n[0].vips = p.n[1].vips = 1;
	turns(&p, 2);
	/* The clock of the table is that of the loop: it must go on by a second between the claims and what confirms
	 * them. */
	for (int i = 0; i < NODES; i++) {
		int64_t until = clock_mono_ms() + REPORT_VIP_TWICE_MS;
		AWAIT(p.n[i].scene.loop, loop_now_ms(p.n[i].scene.loop) >= until);
	}
	turns(&p, 2);
	assert_non_null(strstr(p.n[0].told.p, "warn vip_twice/out: VIP out is on two nodes: n1 and n2\n"));
	assert_null(strstr(p.n[0].told.p, "over"));
	p.n[1].vips = 0;
	turns(&p, 2);
	assert_non_null(strstr(p.n[0].told.p, "over vip_twice/out\n"));
	pair_stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_alone_knows_itself),
		cmocka_unit_test(two_nodes_hear_of_each_other_and_say_so_once),
		cmocka_unit_test(what_cannot_be_read_is_a_warning_until_it_can),
		cmocka_unit_test(a_node_that_leaves_the_cluster_is_alone_again),
		cmocka_unit_test(a_fresh_node_takes_over_what_the_other_knows),
		cmocka_unit_test(what_the_other_finds_down_is_not_taken_over),
		cmocka_unit_test(every_state_has_its_word),
		cmocka_unit_test(a_session_resumes_on_the_other_node),
		cmocka_unit_test(keys_that_nobody_renews_are_renewed),
		cmocka_unit_test(the_own_row_holds_no_keys),
		cmocka_unit_test(an_alarm_is_told_when_it_begins_and_when_it_is_over),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
