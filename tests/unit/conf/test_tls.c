/* SPDX-License-Identifier: Apache-2.0
 * TLS in the configuration: defaults, values, where certificates come from, what must fit together, secrets.
 */
#include "tests/unit/conf/conf_test.h"

#include <sys/stat.h>

#include "tests/unit/net/tls_made.h"

/* Files and texts of the tests; made once. */
static struct {
	struct made ca, good, other;
	char cert[32], key[32], other_key[32], garbage[32], authority[32];
	char *cert_json, *key_json, *other_key_json; /* as inside a JSON string */
} given;

static char *in_json(const char *pem)
{
	struct sbuf out = { 0 };

	for (const char *p = pem; *p != '\0'; p++)
		sbuf_printf(&out, *p == '\n' ? "\\n" : "%c", *p);
	return out.p;
}

static int set_up(void **state)
{
	UNUSED(state);
	given.ca = made((struct made_like) { .cn = "Test CA" });
	given.good = made((struct made_like) { .cn = "mx.example.net", .san = "DNS:mx.example.net", .ca = &given.ca });
	given.other = made((struct made_like) { .cn = "other.example", .ca = &given.ca });
	made_file(given.good.cert_pem, given.cert);
	made_file(given.good.key_pem, given.key);
	made_file(given.other.key_pem, given.other_key);
	made_file("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", given.garbage);
	made_file(given.ca.cert_pem, given.authority);
	given.cert_json = in_json(given.good.cert_pem);
	given.key_json = in_json(given.good.key_pem);
	given.other_key_json = in_json(given.other.key_pem);
	return 0;
}

static int tear_down(void **state)
{
	const char *const files[] = { given.cert, given.key, given.other_key, given.garbage, given.authority };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	made_free(&given.ca);
	made_free(&given.good);
	made_free(&given.other);
	free(given.cert_json);
	free(given.key_json);
	free(given.other_key_json);
	return 0;
}

/* The patch, "CERT", "KEY", "OTHER", "GARBAGE" and "CA" being files, "PEM_CERT", "PEM_KEY" and "PEM_OTHER" texts. */
static const char *filled(const char *patch)
{
	static char *last;
	const struct {
		const char *word, *with;
	} words[] = {
		{ "PEM_CERT", given.cert_json }, { "PEM_KEY", given.key_json }, { "PEM_OTHER", given.other_key_json },
		{ "CERT", given.cert },          { "KEY", given.key },          { "OTHER", given.other_key },
		{ "GARBAGE", given.garbage },    { "CA", given.authority }
	};
	struct sbuf out = { 0 };

	while (*patch != '\0') {
		size_t i = 0;
		while (i < ARRAY_LEN(words) && strncmp(patch, words[i].word, strlen(words[i].word)) != 0)
			i++;
		sbuf_printf(&out, i < ARRAY_LEN(words) ? "%s" : "%.1s", i < ARRAY_LEN(words) ? words[i].with : patch);
		patch += i < ARRAY_LEN(words) ? strlen(words[i].word) : 1;
	}
	free(last);
	last = out.p;
	return last;
}

#define BY_FILE "'certificates': {'m': {'certificate_file': 'CERT', 'key_file': 'KEY'}}"
#define LISTENER_TLS(what) "{" BY_FILE ", 'listeners': {'l': {'tls': " what "}}}"
#define POOL_TLS(what) "{'pools': {'p': {'tls': " what "}}}"

/* ---- defaults and values ---- */

static void nothing_said_is_no_tls(void **state)
{
	struct conf *c = parse_with("{}");
	const struct listener_config *l = &c->listeners[0];
	const struct pool_config *p = &c->pools[0];

	UNUSED(state);
	assert_int_equal(l->tls.mode, LISTENER_TLS_NONE);
	assert_int_equal(l->tls.certificates.n, 0);
	assert_string_equal(l->tls.min_version, "1.2");
	assert_null(l->tls.client_ca_file);
	assert_null(l->tls.server);
	assert_int_equal(l->timeouts.tls_ms, 30000);
	assert_int_equal(p->tls.mode, POOL_TLS_NONE);
	assert_false(p->tls.implicit);
	assert_null(p->tls.ca_file);
	assert_null(p->tls.server_name);
	assert_null(p->tls.client);
	assert_false(p->health.starttls);
	assert_int_equal(p->timeouts.tls_ms, 30000);
	conf_unref(c);
}

static void every_mode_is_read(void **state)
{
	static const struct {
		const char *word;
		enum listener_tls mode;
	} modes[] = { { "starttls", LISTENER_TLS_STARTTLS },
		      { "require", LISTENER_TLS_REQUIRE },
		      { "implicit", LISTENER_TLS_IMPLICIT } };
	char patch[512];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		snprintf(patch, sizeof(patch),
			 LISTENER_TLS("{'mode': '%s', 'certificates': ['m'], 'min_version': '1.3'}"), modes[i].word);
		struct conf *c = parse_with(filled(patch));
		assert_int_equal(c->listeners[0].tls.mode, modes[i].mode);
		assert_string_equal(c->listeners[0].tls.min_version, "1.3");
		assert_non_null(c->listeners[0].tls.server);
		conf_unref(c);
	}
	for (enum pool_tls mode = POOL_TLS_MAY; mode < POOL_TLS_COUNT; mode++) {
		snprintf(patch, sizeof(patch), POOL_TLS("{'mode': '%s'}"), pool_tls_names[mode]);
		struct conf *c = parse_with(patch);
		assert_int_equal(c->pools[0].tls.mode, mode);
		assert_non_null(c->pools[0].tls.client);
		conf_unref(c);
	}
}

static void bad_values_are_refused(void **state)
{
	static const struct {
		const char *patch, *path, *detail;
	} cases[] = {
		{ LISTENER_TLS("{'mode': 'on'}"), "/listeners/l/tls/mode", "not a value" },
		{ LISTENER_TLS("{'mode': 'may'}"), "/listeners/l/tls/mode", "not a value" },
		{ LISTENER_TLS("{'min_version': '1.1'}"), "/listeners/l/tls/min_version", "not a value" },
		{ LISTENER_TLS("{'min_version': 1.2}"), "/listeners/l/tls/min_version", "string" },
		{ LISTENER_TLS("{'certificates': 'm'}"), "/listeners/l/tls/certificates", "list" },
		{ LISTENER_TLS("{'certificates': ['a b']}"), "/listeners/l/tls/certificates/0", "not a name" },
		{ LISTENER_TLS("{'client_ca_file': 'ca.pem'}"), "/listeners/l/tls/client_ca_file", "absolute" },
		{ LISTENER_TLS("{'ca_file': '/ca.pem'}"), "/listeners/l/tls/ca_file", "not a known key" },
		{ "{'listeners': {'l': {'timeouts': {'tls': '0s'}}}}", "/listeners/l/timeouts/tls", "range" },
		{ POOL_TLS("{'mode': 'starttls'}"), "/pools/p/tls/mode", "not a value" },
		{ POOL_TLS("{'mode': 'verify', 'ca_file': 'ca.pem'}"), "/pools/p/tls/ca_file", "absolute" },
		{ POOL_TLS("{'mode': 'verify', 'server_name': 'a b'}"), "/pools/p/tls/server_name", "host" },
		{ POOL_TLS("{'mode': 'encrypt', 'implicit': 'yes'}"), "/pools/p/tls/implicit", "true or false" },
		{ "{'pools': {'p': {'health': {'starttls': 1}}}}", "/pools/p/health/starttls", "true or false" },
		{ "{'pools': {'p': {'health': {'type': 'ssl'}}}}", "/pools/p/health/type", "not a value" },
		{ "{'certificates': {'a b': {'certificate_file': 'CERT'}}}", "/certificates/a b", "not a name" },
		{ "{'certificates': {'m': {'certificate_file': 'cert.pem'}}}", "/certificates/m/certificate_file",
		  "absolute" },
		{ "{'certificates': {'m': {'certificate_file': 'CERT', 'key_file': 5}}}", "/certificates/m/key_file",
		  "string" },
		{ "{'certificates': {'m': {'certificate_file': 'CERT', 'key': 'KEY'}}}", "/certificates/m/key",
		  "not a known key" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_refused(filled(cases[i].patch), cases[i].path, cases[i].detail);
}

/* ---- certificates ---- */

static void a_certificate_comes_from_files_or_as_text(void **state)
{
	static const char *const sources[] = {
		"{'certificates': {'m': {'certificate_file': 'CERT', 'key_file': 'KEY'}}}",
		"{'certificates': {'m': {'certificate_pem': 'PEM_CERT', 'key_pem': 'PEM_KEY'}}}",
		"{'certificates': {'m': {'certificate_pem': 'PEM_CERTPEM_KEY', 'key_pem': 'PEM_KEY'}}}",
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct conf *c = parse_with(filled(sources[i]));
		assert_int_equal(c->n_certificates, 1);
		assert_string_equal(tls_certificate_dns_name(c->certificates[0].loaded, 0), "mx.example.net");
		conf_unref(c);
	}
}

static void one_source_is_needed_and_no_more(void **state)
{
	static const char *const members[] = {
		"",
		"'key_file': 'KEY'",
		"'key_pem': 'PEM_KEY'",
		"'certificate_pem': 'PEM_CERT'",
		"'certificate_pem': 'PEM_CERT', 'key_file': 'KEY'",
		"'certificate_file': 'CERT', 'key_pem': 'PEM_KEY'",
		"'certificate_file': 'CERT', 'certificate_pem': 'PEM_CERT', 'key_pem': 'PEM_KEY'",
		"'certificate_file': 'CERT', 'key_file': 'KEY', 'key_pem': 'PEM_KEY'",
	};
	struct sbuf patch = { 0 };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		sbuf_reset(&patch);
		sbuf_printf(&patch, "{'certificates': {'m': {%s}}}", members[i]);
		assert_refused(filled(patch.p), "/certificates/m", "one certificate and one key");
	}
	sbuf_fini(&patch);
}

static void what_cannot_be_loaded_is_told_with_its_file(void **state)
{
	static const struct {
		const char *members, *detail;
	} cases[] = {
		{ "'certificate_file': '/nowhere/c.pem', 'key_file': 'KEY'",
		  "No such file or directory (/nowhere/c.pem)" },
		{ "'certificate_file': 'CERT', 'key_file': '/nowhere/k.pem'",
		  "No such file or directory (/nowhere/k.pem)" },
		{ "'certificate_file': '/', 'key_file': 'KEY'", "(/)" },
		{ "'certificate_file': 'GARBAGE', 'key_file': 'KEY'", "GARBAGE" },
		{ "'certificate_file': 'CERT', 'key_file': 'CERT'", "CERT" },
		{ "'certificate_file': 'CERT', 'key_file': 'OTHER'", "OTHER" },
		{ "'certificate_file': 'CERT'", "CERT" },
	};
	struct sbuf patch = { 0 };
	char detail[128];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sbuf_reset(&patch);
		sbuf_printf(&patch, "{'certificates': {'m': {%s}}}", cases[i].members);
		snprintf(detail, sizeof(detail), "%s", filled(cases[i].detail));
		assert_refused(filled(patch.p), "/certificates/m/certificate_file", detail);
	}
	sbuf_fini(&patch);
}

/* A fifo would hold up whoever opens it. */
static void what_is_no_file_is_refused_at_once(void **state)
{
	char path[] = "/tmp/postroad-fifo-XXXXXX", patch[256];

	UNUSED(state);
	close(mkstemp(path));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(patch, sizeof(patch), "{'certificates': {'m': {'certificate_file': '%s'}}}", path);
	assert_refused(patch, "/certificates/m/certificate_file", "not a regular file");
	snprintf(patch, sizeof(patch), POOL_TLS("{'mode': 'verify', 'ca_file': '%s'}"), path);
	assert_refused(patch, "/pools/p/tls/ca_file", "not a regular file");
	snprintf(patch, sizeof(patch),
		 LISTENER_TLS("{'mode': 'starttls', 'certificates': ['m'], 'client_ca_file': '%s'}"), path);
	assert_refused(filled(patch), "/listeners/l/tls/client_ca_file", "not a regular file");
	unlink(path);
}

static void text_that_does_not_fit_is_told_without_the_key(void **state)
{
	struct errors errors = { 0 };
	json_t *document = document_with(
		filled("{'certificates': {'m': {'certificate_pem': 'PEM_CERT', 'key_pem': 'PEM_OTHER'}}}"));
	char secret[40];

	UNUSED(state);
	assert_null(conf_parse(document, &test_env, &errors));
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.list[0].path, "/certificates/m/certificate_pem");
	char *text = errors_text(&errors);
	snprintf(secret, sizeof(secret), "%.30s", strchr(given.other.key_pem, '\n') + 1);
	assert_null(strstr(text, secret));
	assert_null(strstr(text, "PRIVATE KEY"));
	free(text);
	errors_fini(&errors);
	json_decref(document);
}

static void all_broken_certificates_are_told_at_once(void **state)
{
	struct errors errors = { 0 };
	json_t *document = document_with(
		filled("{'certificates': {'a': {'certificate_file': 'GARBAGE'}, 'b': {'certificate_file': '/nowhere'},"
		       " 'c': {'certificate_file': 'CERT', 'key_file': 'KEY'}}}"));

	UNUSED(state);
	assert_null(conf_parse(document, &test_env, &errors));
	assert_int_equal(errors.n, 2);
	assert_non_null(error_at(&errors, "/certificates/a/certificate_file"));
	assert_non_null(error_at(&errors, "/certificates/b/certificate_file"));
	errors_fini(&errors);
	json_decref(document);
}

/* ---- what must fit together ---- */

static void a_listener_with_tls_needs_certificates_that_exist(void **state)
{
	UNUSED(state);
	assert_refused(filled(LISTENER_TLS("{'mode': 'starttls'}")), "/listeners/l/tls/certificates",
		       "needs a certificate");
	assert_refused(filled(LISTENER_TLS("{'mode': 'implicit', 'certificates': ['m', 'n']}")),
		       "/listeners/l/tls/certificates", "certificate");
	assert_refused(filled(LISTENER_TLS("{'certificates': ['n']}")), "/listeners/l/tls/certificates", "certificate");
	assert_refused(filled(LISTENER_TLS("{'mode': 'require', 'certificates': ['m'], 'client_ca_file': '/nowhere'}")),
		       "/listeners/l/tls/client_ca_file", "/nowhere");
	assert_refused(filled(LISTENER_TLS("{'mode': 'require', 'certificates': ['m'], 'client_ca_file': 'KEY'}")),
		       "/listeners/l/tls/client_ca_file", given.key);
	conf_unref(
		parse_with(filled(LISTENER_TLS("{'mode': 'require', 'certificates': ['m'], 'client_ca_file': 'CA'}"))));
}

static void a_listener_of_mode_tcp_has_no_tls(void **state)
{
	UNUSED(state);
	assert_refused(filled("{" BY_FILE ", 'listeners': {'l': {'mode': 'tcp', 'tls': {'mode': 'implicit', "
			      "'certificates': ['m']}}}}"),
		       "/listeners/l/tls", "does not look into");
}

static void a_pool_says_what_it_trusts(void **state)
{
	UNUSED(state);
	assert_refused(POOL_TLS("{'implicit': true}"), "/pools/p/tls/implicit", "encrypt");
	assert_refused(POOL_TLS("{'mode': 'may', 'implicit': true}"), "/pools/p/tls/implicit", "encrypt");
	assert_refused(POOL_TLS("{'mode': 'verify', 'ca_file': '/nowhere'}"), "/pools/p/tls/ca_file", "/nowhere");
	assert_refused(filled(POOL_TLS("{'mode': 'verify', 'ca_file': 'KEY'}")), "/pools/p/tls/ca_file", given.key);
	assert_refused("{'pools': {'p': {'tls': {'mode': 'verify'}, 'servers': {'s': {'address': "
		       "'srv:_smtp._tcp.example.net'}}}}}",
		       "/pools/p/tls/server_name", "no name of their own");
	assert_refused(POOL_TLS("{'mode': 'verify', 'server_name': '.example.net'}"), "/pools/p/tls/server_name",
		       "no certificate");
	assert_refused(POOL_TLS("{'mode': 'verify', 'server_name': '[192.0.2.1]'}"), "/pools/p/tls/server_name",
		       "no certificate");
	conf_unref(parse_with(filled(POOL_TLS("{'mode': 'verify', 'ca_file': 'CA', 'server_name': '192.0.2.1'}"))));
	struct conf *c =
		parse_with(filled(POOL_TLS("{'mode': 'verify', 'ca_file': 'CA', 'server_name': 'MX.example.net.'}")));
	assert_string_equal(c->pools[0].tls.server_name, "mx.example.net");
	conf_unref(c);
	conf_unref(parse_with(filled(POOL_TLS("{'mode': 'verify', 'ca_file': 'CA', 'implicit': true, "
					      "'server_name': 'mx.example.net'}"))));
}

static void checks_with_tls_need_no_tls_of_the_mail(void **state)
{
	static const char *const checks[] = { "{'type': 'tls'}", "{'starttls': true}" };
	char patch[128];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		snprintf(patch, sizeof(patch), "{'pools': {'p': {'health': %s}}}", checks[i]);
		struct conf *c = parse_with(patch);
		assert_int_equal(c->pools[0].tls.mode, POOL_TLS_NONE);
		assert_non_null(c->pools[0].tls.client);
		conf_unref(c);
	}
}

static void what_has_no_effect_is_a_warning(void **state)
{
	struct conf *c = parse_with(filled(LISTENER_TLS("{'certificates': ['m']}")));

	UNUSED(state);
	assert_true(warns(c, "/listeners/l/tls/certificates", "no effect"));
	conf_unref(c);
	c = parse_with(filled(POOL_TLS("{'mode': 'encrypt', 'ca_file': 'CA'}")));
	assert_true(warns(c, "/pools/p/tls/ca_file", "no effect"));
	conf_unref(c);
}

static void checks_that_cannot_succeed_are_a_warning(void **state)
{
	struct conf *c = parse_with("{'pools': {'p': {'tls': {'mode': 'encrypt'}, 'health': {'type': 'tls'}}}}");

	UNUSED(state);
	assert_true(warns(c, "/pools/p/health/type", "begin with TLS"));
	conf_unref(c);
	c = parse_with("{'pools': {'p': {'tls': {'mode': 'encrypt', 'implicit': true}, 'health': {'type': 'tls'}}}}");
	assert_null(error_at(&c->warnings, "/pools/p/health/type"));
	conf_unref(c);
}

/* ---- secrets ---- */

static void keys_are_secrets(void **state)
{
	json_t *stored =
		json_of(filled("{'certificates': {'m': {'certificate_pem': 'PEM_CERT', 'key_pem': 'PEM_KEY'}}}"));
	json_t *shown = conf_mask(stored), *none = json_object();
	struct errors errors = { 0 };

	UNUSED(state);
	assert_json(shown, filled("{'certificates': {'m': {'certificate_pem': 'PEM_CERT', 'key_pem': '<secret>'}}}"));
	json_t *back = conf_unmask(shown, stored, &errors), *diff = conf_diff(none, stored);
	assert_int_equal(errors.n, 0);
	assert_true(json_equal(back, stored));
	char *changes = json_dumps(diff, 0);
	assert_non_null(strstr(changes, "<secret>"));
	assert_null(strstr(changes, "PRIVATE KEY"));
	free(changes);
	json_t *unheard = conf_unmask(shown, none, &errors);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.list[0].path, "/certificates/m/key_pem");
	errors_fini(&errors);
	json_decref(unheard);
	json_decref(diff);
	json_decref(back);
	json_decref(none);
	json_decref(shown);
	json_decref(stored);
}

/* ---- files that went bad ---- */

static const char with_file[] =
	"{'certificates': {'a': {'certificate_file': '%s', 'key_file': '%s'}, 'b': {'certificate_file': '%s', "
	"'key_file': '%s'}},"
	" 'listeners': {'l': {'tls': {'mode': 'starttls', 'certificates': ['a']}},"
	"               'm': {'bind': ['127.0.0.1:2526'], 'pool': 'p', 'tls': {'mode': 'starttls', "
	"'certificates': ['a', 'b']}}}}";

static struct conf *parse_under(const char *certificate, const struct conf *before, bool starting)
{
	char *patch = xasprintf(with_file, certificate, given.key, given.cert, given.key);
	struct conf_env env = test_env;
	struct errors errors = { 0 };
	json_t *document = document_with(patch);

	env.before = before;
	env.starting = starting;
	struct conf *c = conf_parse(document, &env, &errors);
	assert_int_equal(c == NULL, errors.n > 0);
	errors_fini(&errors);
	json_decref(document);
	free(patch);
	return c;
}

static void break_file(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs("nothing", f);
	fclose(f);
}

static void a_file_that_went_bad_is_an_error_only_for_who_names_it_anew(void **state)
{
	UNUSED(state);
	char file[32];

	made_file(given.good.cert_pem, file);
	struct conf *before = parse_under(file, NULL, false);
	assert_non_null(before);
	assert_int_equal(before->kept.n, 0);
	break_file(file);
	assert_null(parse_under(file, NULL, false));
	struct conf *after = parse_under(file, before, false), *other = parse_under(given.cert, NULL, false);
	assert_non_null(after);
	assert_ptr_equal(after->certificates[0].loaded, before->certificates[0].loaded);
	assert_int_equal(after->kept.n, 1);
	assert_string_equal(after->kept.list[0].path, "/certificates/a/certificate_file");
	assert_false(after->listeners[0].closed);
	assert_non_null(after->listeners[0].tls.server);
	assert_null(parse_under(file, other, false));
	conf_unref(before);
	conf_unref(after);
	conf_unref(other);
	unlink(file);
}

static void at_a_start_it_closes_the_listeners_that_have_no_other(void **state)
{
	UNUSED(state);
	struct conf *c = parse_under(given.garbage, NULL, true);

	assert_non_null(c);
	assert_null(c->certificates[0].loaded);
	assert_true(c->listeners[0].closed);
	assert_int_equal(c->listeners[0].n_bind, 0);
	assert_null(c->listeners[0].tls.server);
	assert_false(c->listeners[1].closed);
	assert_int_equal(c->listeners[1].n_bind, 1);
	assert_non_null(c->listeners[1].tls.server);
	assert_int_equal(c->kept.n, 2);
	/* And so it stays while nothing about it changes. */
	struct conf *after = parse_under(given.garbage, c, false), *mended = parse_under(given.cert, c, false);
	assert_non_null(after);
	assert_true(after->listeners[0].closed);
	assert_non_null(mended);
	assert_false(mended->listeners[0].closed);
	assert_int_equal(mended->kept.n, 0);
	conf_unref(c);
	conf_unref(after);
	conf_unref(mended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_no_tls),
		cmocka_unit_test(every_mode_is_read),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(a_certificate_comes_from_files_or_as_text),
		cmocka_unit_test(one_source_is_needed_and_no_more),
		cmocka_unit_test(what_cannot_be_loaded_is_told_with_its_file),
		cmocka_unit_test(what_is_no_file_is_refused_at_once),
		cmocka_unit_test(text_that_does_not_fit_is_told_without_the_key),
		cmocka_unit_test(all_broken_certificates_are_told_at_once),
		cmocka_unit_test(a_listener_with_tls_needs_certificates_that_exist),
		cmocka_unit_test(a_listener_of_mode_tcp_has_no_tls),
		cmocka_unit_test(a_pool_says_what_it_trusts),
		cmocka_unit_test(checks_with_tls_need_no_tls_of_the_mail),
		cmocka_unit_test(what_has_no_effect_is_a_warning),
		cmocka_unit_test(checks_that_cannot_succeed_are_a_warning),
		cmocka_unit_test(keys_are_secrets),
		cmocka_unit_test(a_file_that_went_bad_is_an_error_only_for_who_names_it_anew),
		cmocka_unit_test(at_a_start_it_closes_the_listeners_that_have_no_other),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
