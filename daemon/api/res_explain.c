/* SPDX-License-Identifier: Apache-2.0
 * Where a message would go, and why: the same policy and pool functions that route mail, asked about the snapshot in
 * force.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define RECIPIENTS_MAX 1000
#define EXPLAIN_KEYS "listener,client,client_certificate,helo,user,sender,recipients,size,extensions"

struct question {
	const struct snapshot *snapshot;
	const struct listener_view *view;
	struct envelope envelope;
	struct addr client;
	struct envelope_certificate certificate;
	const char *certificate_name;
	char sender_domain[SMTP_DOMAIN_MAX + 1], recipient_domain[SMTP_DOMAIN_MAX + 1];
	uint64_t size;
	unsigned need_exts; /* SMTP_EXT_* that MAIL and RCPT would ask for */
	int64_t now_ms;
	struct errors errors;
};

/* ---- reading the question ---- */

static struct str without_brackets(const char *text)
{
	struct str s = str_from(text);

	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>' && s.n > 2)
		return (struct str) { s.p + 1, s.n - 2 };
	return s;
}

/* The address that mail is routed by: without brackets, and without an old source route (RFC 5321 4.1.1.3). One that
 * RCPT would refuse is left as it is; check_address() has said so. */
static struct str mailbox_of(const char *address)
{
	struct str bare = without_brackets(address);
	struct smtp_refusal unused;
	struct smtp_rcpt rcpt;

	if (bare.n == 0 || bare.p[0] != '@')
		return bare;
	char *text = xasprintf("TO:<%.*s>", STR_ARG(bare));
	if (smtp_rcpt_parse(str_from(text), SMTP_EXT_SMTPUTF8, &rcpt, &unused))
		bare = (struct str) { bare.p + bare.n - rcpt.path.mailbox.n, rcpt.path.mailbox.n };
	free(text);
	return bare;
}

static struct str fold_domain(struct str address, char out[SMTP_DOMAIN_MAX + 1])
{
	const char *at = address.n == 0 ? NULL : memrchr(address.p, '@', address.n);

	out[0] = '\0';
	if (at == NULL)
		return (struct str) { out, 0 };
	struct str domain = { at + 1, address.n - (size_t)(at + 1 - address.p) };
	if (!smtp_domain_fold(domain, out))
		out[0] = '\0';
	return str_from(out);
}

static const char *text_of(struct question *q, json_t *body, const char *key, const char *absent)
{
	json_t *value = json_object_get(body, key);
	char path[64] = "/";

	if (value == NULL || json_is_null(value))
		return absent;
	if (json_is_string(value))
		return json_string_value(value);
	strncat(path, key, sizeof(path) - 2);
	errors_add(&q->errors, path, NULL, "a string", NULL, "not a string");
	return absent;
}

static void read_listener(struct question *q, json_t *body)
{
	const char *name = text_of(q, body, "listener", NULL);

	for (size_t i = 0; q->snapshot != NULL && i < q->snapshot->n_listeners; i++) {
		const struct listener_view *v = &q->snapshot->listeners[i];
		bool only = name == NULL && q->snapshot->n_listeners == 1;
		if (!only && (name == NULL || strcmp(v->config->name, name) != 0))
			continue;
		q->view = v;
		q->envelope.listener = v->config->name;
		return;
	}
	errors_add(&q->errors, "/listener", name, NULL, NULL,
		   name == NULL ? "say which listener" : "there is no such listener");
}

/* One name as routes write it; a client without one has shown no certificate. */
static void read_certificate(struct question *q, const char *name)
{
	if (name == NULL)
		return;
	q->certificate_name = name;
	if (policy_certificate_kind(name))
		q->certificate = (struct envelope_certificate) { .names = &q->certificate_name, .n_names = 1 };
	else
		q->certificate.common_name = name;
	q->envelope.certificate = &q->certificate;
}

/* Those that a message can ask for. */
static unsigned extension_of(const char *name)
{
	static const unsigned known[] = { SMTP_EXT_8BITMIME, SMTP_EXT_SMTPUTF8, SMTP_EXT_DSN };

	for (size_t i = 0; name != NULL && i < ARRAY_LEN(known); i++)
		if (str_ieq(str_from(name), str_from(smtp_ext_names[__builtin_ctz(known[i])])))
			return known[i];
	return 0;
}

static void read_extensions(struct question *q, json_t *list)
{
	json_t *name;
	size_t i;

	if (list != NULL && !json_is_null(list) && !json_is_array(list))
		errors_add(&q->errors, "/extensions", NULL, "a list of names", NULL, "not a list");
	json_array_foreach(list, i, name) {
		unsigned one = extension_of(json_string_value(name));
		char path[40];
		snprintf(path, sizeof(path), "/extensions/%zu", i);
		if (one == 0)
			errors_add(&q->errors, path, json_string_value(name), "\"8BITMIME\", \"SMTPUTF8\", \"DSN\"",
				   NULL, "not an extension that a message asks for");
		q->need_exts |= one;
	}
}

/* RFC 6531 3.5: an address that is not ASCII travels with SMTPUTF8 alone. */
static void look_at_address(struct question *q, const char *address)
{
	for (; address != NULL && *address != '\0'; address++)
		if ((unsigned char)*address >= 0x80)
			q->need_exts |= SMTP_EXT_SMTPUTF8;
}

static bool mail_takes(struct str line, bool utf8, struct smtp_refusal *ret_why)
{
	struct smtp_mail mail;

	return smtp_mail_parse(line, SMTP_EXT_SMTPUTF8, &mail, ret_why) && mail.params.n == (utf8 ? 8 : 0);
}

static bool rcpt_takes(struct str line, struct smtp_refusal *ret_why)
{
	struct smtp_rcpt rcpt;

	return smtp_rcpt_parse(line, SMTP_EXT_SMTPUTF8, &rcpt, ret_why) && rcpt.params.n == 0;
}

/* An address that MAIL (verb "FROM") or RCPT ("TO") would refuse goes nowhere. */
static void check_address(struct question *q, const char *path, const char *verb, const char *address)
{
	struct str bare = without_brackets(address);
	bool is_sender = verb[0] == 'F', utf8 = false;
	struct smtp_refusal why = { .text = "malformed address" };

	for (size_t i = 0; i < bare.n; i++)
		utf8 |= (unsigned char)bare.p[i] >= 0x80;
	char *text = xasprintf("%s:<%.*s>%s", verb, (int)bare.n, bare.p, is_sender && utf8 ? " SMTPUTF8" : "");
	struct str line = str_from(text);
	if (!(is_sender ? mail_takes(line, utf8, &why) : rcpt_takes(line, &why)))
		errors_add(&q->errors, path, address, "an address", NULL, "%s", why.text);
	free(text);
}

static void read_sender(struct question *q, const char *sender)
{
	bool is_null = sender[0] == '\0' || strcmp(sender, "<>") == 0;

	look_at_address(q, sender);
	if (!is_null)
		check_address(q, "/sender", "FROM", sender);
	q->envelope.sender = is_null ? STR("<>") : mailbox_of(sender);
	q->envelope.sender_domain = fold_domain(q->envelope.sender, q->sender_domain);
}

static void read_question(struct question *q, json_t *body)
{
	json_t *size = json_object_get(body, "size");
	const char *client = text_of(q, body, "client", "127.0.0.1");

	read_listener(q, body);
	if (!addr_parse_ip(client, &q->client))
		errors_add(&q->errors, "/client", client, "an IP address", NULL, "not an IP address");
	q->envelope.client = &q->client;
	q->envelope.helo = str_from(text_of(q, body, "helo", ""));
	q->envelope.user = text_of(q, body, "user", NULL);
	read_certificate(q, text_of(q, body, "client_certificate", NULL));
	read_extensions(q, json_object_get(body, "extensions"));
	read_sender(q, text_of(q, body, "sender", "<>"));
	if (json_is_integer(size) && json_integer_value(size) >= 0)
		q->size = (uint64_t)json_integer_value(size);
	else if (size != NULL && !json_is_null(size))
		errors_add(&q->errors, "/size", NULL, "a number of bytes", NULL, "not a number of bytes");
}

/* ---- answering ---- */

static void add_candidate(const struct server *s, bool usable, const char *why, void *arg)
{
	json_array_append_new(arg,
			      json_pack("{s:o, s:s, s:b, s:o}", "server", json_text(s->name), "state",
					server_state_names[server_state(s)], "usable", usable, "why", json_text(why)));
}

static json_t *candidates_json(const struct question *q, const struct pool *pool)
{
	struct pick_query query = { .hash = balance_hash(pool->config, &q->envelope),
				    .need_exts = q->need_exts,
				    .need_size = q->size,
				    .now_ms = q->now_ms };
	json_t *list = json_array();

	pool_explain(pool, &query, add_candidate, list);
	return list;
}

/* Why each route up to the one taken matched or did not. */
static json_t *routes_json(const struct question *q, int taken)
{
	const struct policy_config *config = q->snapshot->policy_config;
	size_t n = taken < 0 ? config->n_routes : (size_t)taken + 1;
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:o, s:o}", "route", json_text(config->routes[i].name), "why",
						      json_text(policy_why(q->snapshot->policy, i, &q->envelope))));
	return list;
}

static void add_destination(const struct question *q, int taken, json_t *o)
{
	const struct route_config *route = taken < 0 ? NULL : &q->snapshot->policy_config->routes[taken];
	const struct pool *pool = route == NULL ? q->view->pool : q->snapshot->route_pools[taken];

	json_object_set_new(o, "route", route == NULL ? json_null() : json_text(route->name));
	if (route != NULL && route->action != ROUTE_POOL) {
		json_object_set_new(o, "action", json_string(route->action == ROUTE_REJECT ? "reject" : "defer"));
		json_object_set_new(o, "text", json_string(route_refusal(route)));
		return;
	}
	json_object_set_new(o, "action", json_string("pool"));
	json_object_set_new(o, "pool", pool == NULL ? json_null() : json_text(pool->config->name));
	json_object_set_new(o, "candidates", pool == NULL ? json_array() : candidates_json(q, pool));
}

static json_t *recipient_json(struct question *q, const char *recipient)
{
	json_t *o = json_pack("{s:o}", "recipient", json_text(recipient));

	q->envelope.recipient = mailbox_of(recipient);
	q->envelope.recipient_domain = fold_domain(q->envelope.recipient, q->recipient_domain);
	if (!listener_accepts(q->snapshot, q->view->config, &q->envelope)) {
		json_object_set_new(o, "action", json_string("reject"));
		json_object_set_new(o, "text", json_string("not one of the listener's accepted_domains"));
		return o;
	}
	int taken = policy_route(q->snapshot->policy, &q->envelope);
	add_destination(q, taken, o);
	json_object_set_new(o, "routes", routes_json(q, taken));
	return o;
}

static json_t *client_json(const struct question *q)
{
	const char *why = listener_refuses(q->view->config, &q->client);

	return json_pack("{s:b, s:s}", "allowed", why == NULL, "why", why == NULL ? "allowed" : why);
}

static json_t *answer_json(struct question *q, json_t *recipients)
{
	json_t *list = json_array(), *recipient;
	size_t i;

	json_array_foreach(recipients, i, recipient)
		json_array_append_new(list, recipient_json(q, json_string_value(recipient)));
	json_t *o = json_pack("{s:I, s:o, s:o, s:o}", "revision", (json_int_t)q->snapshot->revision, "listener",
			      json_text(q->view->config->name), "client", client_json(q), "recipients", list);
	/* The rest is told all the same: it is what a login would see. */
	if (q->view->config->auth.mode == LISTENER_AUTH_REQUIRE && q->envelope.user == NULL)
		json_object_set_new(o, "auth",
				    json_string("MAIL gets 530: the listener requires a login; say as which `user`"));
	return o;
}

static bool recipients_fit(struct question *q, json_t *recipients)
{
	json_t *recipient;
	size_t i;

	if (!json_is_array(recipients) || json_array_size(recipients) == 0 ||
	    json_array_size(recipients) > RECIPIENTS_MAX) {
		errors_add(&q->errors, "/recipients", NULL, "a list of 1 to 1000 addresses", NULL,
			   "not a list of addresses");
		return false;
	}
	json_array_foreach(recipients, i, recipient) {
		char path[40];
		snprintf(path, sizeof(path), "/recipients/%zu", i);
		look_at_address(q, json_string_value(recipient));
		if (json_is_string(recipient))
			check_address(q, path, "TO", json_string_value(recipient));
		else
			errors_add(&q->errors, path, NULL, "an address", NULL, "not a string");
	}
	return true;
}

void res_explain_post(struct call *c)
{
	json_t *body = call_body_object(c, EXPLAIN_KEYS), *recipients;

	if (body == NULL)
		return;
	struct question q = { .snapshot = engine_snapshot(c->api->env.engine), .now_ms = clock_mono_ms() };
	read_question(&q, body);
	recipients = json_object_get(body, "recipients");
	recipients_fit(&q, recipients);
	if (q.errors.n > 0)
		call_problem(c, PROBLEM_INVALID, &q.errors, "the question does not validate");
	else
		call_json(c, 200, answer_json(&q, recipients));
	errors_fini(&q.errors);
	json_decref(body);
}
