/* SPDX-License-Identifier: Apache-2.0
 * Calls to the REST API over the admin socket or HTTPS, and what a refusal looks like to a person.
 *
 * The hard thing is trust: a node's own certificate is self-signed, so besides the system's authorities a file of them
 * or the fingerprint of exactly one certificate may be named, and a token never travels in clear text beyond this
 * machine.
 */
#include "daemon/cli/cli.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "daemon/base/clock.h"

#define REPLY_MAX ((size_t)64 << 20)
#define LINE_MAX_BYTES ((size_t)1 << 20)
#define TOKEN_MAX 4096
#define CONNECT_TIMEOUT 10L
#define SILENCE_MAX_MS 60000

struct http {
	CURL *curl;
	const char *base;
	char *token_header;
	unsigned char fingerprint[EVP_MAX_MD_SIZE];
	char trouble[CURL_ERROR_SIZE];
};

/* What the callbacks of one call fill. */
struct transfer {
	struct http_reply *reply;
	http_line_fn *line_fn;
	void *line_arg;
	bool is_ended_by_reader, is_too_big;
	int64_t heard_ms; /* streams: when something last came */
};

/* ---- trust ---- */

static bool is_loopback_url(const char *url)
{
	const char *host = strstr(url, "://");

	if (host == NULL)
		return false;
	host += 3;
	size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#@");
	return host[n] != '@' &&
	       ((n == 9 && strncasecmp(host, "localhost", n) == 0) || (n == 5 && strncmp(host, "[::1]", n) == 0) ||
		(strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n));
}

/* Takes the handshake's verdict into our own hands: the leaf must be the one named; names and dates do not matter then.
 */
static int verify_fingerprint(X509_STORE_CTX *ctx, void *arg)
{
	const struct http *h = arg;
	unsigned char seen[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);

	if (leaf != NULL && X509_digest(leaf, EVP_sha256(), seen, &n) == 1 && n == 32 &&
	    memcmp(seen, h->fingerprint, n) == 0) {
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
	return 0;
}

static CURLcode on_ssl_ctx(CURL *curl, void *ctx, void *arg)
{
	UNUSED(curl);
	SSL_CTX_set_cert_verify_callback(ctx, verify_fingerprint, arg);
	return CURLE_OK;
}

/* 64 hex digits, colons and a leading "sha256:" allowed. */
static bool parse_fingerprint(const char *text, unsigned char *ret)
{
	size_t n = 0;

	if (strncasecmp(text, "sha256:", 7) == 0)
		text += 7;
	for (; *text != '\0'; text++) {
		static const char digits[] = "0123456789abcdef";
		const char *d = memchr(digits, *text >= 'A' && *text <= 'F' ? *text | 0x20 : *text, 16);
		if (*text == ':')
			continue;
		if (d == NULL || n == 64)
			return false;
		ret[n / 2] = (unsigned char)(ret[n / 2] << 4 | (d - digits));
		n++;
	}
	return n == 64;
}

static int read_token(struct http *h, const char *file)
{
	size_t n;
	char *token = cli_read_file(file, TOKEN_MAX, &n);

	if (token == NULL)
		return EXIT_FAILED;
	token[strcspn(token, "\r\n")] = '\0';
	if (*token == '\0' || strpbrk(token, " \t") != NULL) {
		cli_error("%s holds no token", file);
		free(token);
		return EXIT_USAGE;
	}
	h->token_header = xasprintf("Authorization: Bearer %s", token);
	explicit_bzero(token, n);
	free(token);
	return EXIT_DONE;
}

/* ---- one handle per invocation ---- */

static int set_up_url(struct cli *c, struct http *h)
{
	const char *url = c->options[OPT_URL];
	bool is_https = strncasecmp(url, "https://", 8) == 0;

	if (!is_https && strncasecmp(url, "http://", 7) != 0) {
		cli_error("--url: \"%s\" does not start with https://", url);
		return EXIT_USAGE;
	}
	if (!is_https && !is_loopback_url(url)) {
		cli_error("--url: plain http:// is for this machine only; a token must not travel in clear text");
		return EXIT_USAGE;
	}
	h->base = url;
	if (cli_has(c, OPT_CA_FILE))
		curl_easy_setopt(h->curl, CURLOPT_CAINFO, c->options[OPT_CA_FILE]);
	if (cli_has(c, OPT_FINGERPRINT)) {
		if (!parse_fingerprint(c->options[OPT_FINGERPRINT], h->fingerprint)) {
			cli_error("--fingerprint: not a SHA-256 in 64 hex digits");
			return EXIT_USAGE;
		}
		curl_easy_setopt(h->curl, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(h->curl, CURLOPT_CAPATH, NULL);
		curl_easy_setopt(h->curl, CURLOPT_SSL_VERIFYHOST, 0L);
		curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
		curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_DATA, h);
	}
	return cli_has(c, OPT_TOKEN_FILE) ? read_token(h, c->options[OPT_TOKEN_FILE]) : EXIT_DONE;
}

static const char *socket_path(const struct cli *c)
{
	const char *env = getenv("POSTROAD_SOCKET");

	if (cli_has(c, OPT_SOCKET))
		return c->options[OPT_SOCKET];
	return env != NULL && *env != '\0' ? env : CLI_SOCKET_DEFAULT;
}

static int set_up(struct cli *c)
{
	long timeout = 60;

	if (!options_number(c, OPT_TIMEOUT, 1, 86400, &timeout))
		return EXIT_USAGE;
	if (c->http == NULL) {
		struct http *h = c->http = xcalloc(1, sizeof(*h));
		curl_global_init(CURL_GLOBAL_DEFAULT);
		h->curl = curl_easy_init();
		ASSERT(h->curl != NULL);
		curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->trouble);
		curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT);
		curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
		h->base = "http://localhost";
		if (cli_has(c, OPT_URL)) {
			int rc = set_up_url(c, h);
			if (rc != EXIT_DONE)
				return rc;
		} else {
			curl_easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, socket_path(c));
		}
	}
	curl_easy_setopt(c->http->curl, CURLOPT_TIMEOUT, timeout);
	return EXIT_DONE;
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	curl_easy_cleanup(h->curl);
	if (h->token_header != NULL)
		explicit_bzero(h->token_header, strlen(h->token_header));
	free(h->token_header);
	free(h);
	curl_global_cleanup();
}

void http_reply_fini(struct http_reply *rp)
{
	free(rp->etag);
	free(rp->location);
	json_decref(rp->json);
	sbuf_fini(&rp->body);
	memset(rp, 0, sizeof(*rp));
}

void http_add_segment(struct sbuf *path, const char *segment)
{
	for (; *segment != '\0'; segment++) {
		unsigned char ch = (unsigned char)*segment;
		bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
				strchr("-._~@", ch) != NULL;
		if (is_plain)
			sbuf_putc(path, (char)ch);
		else
			sbuf_printf(path, "%%%02X", ch);
	}
}

/* ---- receiving ---- */

static void take_header(const char *line, size_t n, const char *name, char **ret)
{
	size_t len = strlen(name);

	if (n <= len || strncasecmp(line, name, len) != 0)
		return;
	while (len < n && (line[len] == ' ' || line[len] == '\t'))
		len++;
	while (n > len && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	free(*ret);
	*ret = xstrndup(line + len, n - len);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	UNUSED(size);
	take_header(p, n, "ETag:", &t->reply->etag);
	take_header(p, n, "Location:", &t->reply->location);
	return n;
}

/* Hands complete lines to the reader and keeps the rest. */
static bool feed_lines(struct transfer *t)
{
	struct sbuf *b = &t->reply->body;
	size_t start = 0;

	for (char *nl; (nl = memchr(b->p + start, '\n', b->n - start)) != NULL;) {
		size_t end = (size_t)(nl - b->p);
		*nl = '\0';
		if (end > start && b->p[end - 1] == '\r')
			b->p[end - 1] = '\0';
		if (!t->line_fn(b->p + start, t->line_arg)) {
			t->is_ended_by_reader = true;
			return false;
		}
		start = end + 1;
	}
	memmove(b->p, b->p + start, b->n - start);
	b->n -= start;
	b->p[b->n] = '\0';
	return b->n <= LINE_MAX_BYTES;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	UNUSED(size);
	t->heard_ms = clock_mono_ms();
	if (t->reply->body.n + n > REPLY_MAX) {
		t->is_too_big = true;
		return 0;
	}
	sbuf_add(&t->reply->body, p, n);
	if (t->line_fn != NULL && t->reply->status / 100 == 2 && !feed_lines(t))
		return 0;
	return n;
}

/* curl asks about once a second. Its own low-speed limit would take the few bytes of a heartbeat for silence. */
static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total, curl_off_t ul_now)
{
	const struct transfer *t = arg;

	UNUSED(dl_total);
	UNUSED(dl_now);
	UNUSED(ul_total);
	UNUSED(ul_now);
	return clock_mono_ms() - t->heard_ms > SILENCE_MAX_MS;
}

/* The status line comes before any body: it decides whether a body is a stream or a problem. */
static size_t on_header_line(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	if (n > 12 && strncmp(p, "HTTP/", 5) == 0) {
		const char *sp = memchr(p, ' ', n);
		t->reply->status = sp != NULL ? strtol(sp, NULL, 10) : 0;
		return n;
	}
	return on_header(p, size, n, arg);
}

/* ---- refusals, for people ---- */

static void print_problem_error(const json_t *e)
{
	const char *path = cli_str(e, "path"), *suggestion = cli_str(e, "suggestion");
	json_t *found = json_object_get(e, "found"), *allowed = json_object_get(e, "allowed");
	char *found_text =
		json_is_string(found) ? xstrdup(json_string_value(found)) : json_dumps(found, JSON_ENCODE_ANY);
	char *allowed_text =
		json_is_string(allowed) ? xstrdup(json_string_value(allowed)) : json_dumps(allowed, JSON_ENCODE_ANY);

	fprintf(stderr, "%s: %s", *path ? path : "(document)", cli_str(e, "detail"));
	if (found_text != NULL && !json_is_null(found))
		fprintf(stderr, "; found: %s", found_text);
	if (allowed_text != NULL && !json_is_null(allowed))
		fprintf(stderr, "; allowed: %s", allowed_text);
	if (*suggestion)
		fprintf(stderr, "; did you mean \"%s\"?", suggestion);
	fputc('\n', stderr);
	free(found_text);
	free(allowed_text);
}

/* What a status means for someone at a terminal, where the server's own words would leave the question what to do. */
static const char *status_advice(long status)
{
	switch (status) {
	case 401:
		return "give a token with --token-file";
	case 403:
		return "this token's role does not allow it";
	case 412:
		return "somebody else changed it meanwhile; look again and repeat";
	case 503:
		return "the node cannot do that now";
	default:
		return NULL;
	}
}

static int explain_refusal(const struct cli *c, const struct http_reply *rp)
{
	const char *title = cli_str(rp->json, "title"), *detail = cli_str(rp->json, "detail");
	const char *advice = status_advice(rp->status);
	size_t i;
	json_t *e;

	if (cli_has(c, OPT_JSON) && rp->json != NULL) {
		json_dumpf(rp->json, stderr, JSON_INDENT(2));
		fputc('\n', stderr);
	} else {
		cli_error("%s%s%s (HTTP %ld)%s%s", *title ? title : "refused", *detail ? ": " : "", detail, rp->status,
			  advice != NULL ? "; " : "", advice != NULL ? advice : "");
		json_array_foreach(json_object_get(rp->json, "errors"), i, e)
			print_problem_error(e);
	}
	return rp->status == 400 || rp->status == 422 ? EXIT_USAGE : EXIT_FAILED;
}

static int explain_trouble(const struct cli *c, CURLcode code)
{
	const char *why = *c->http->trouble ? c->http->trouble : curl_easy_strerror(code);

	if (cli_has(c, OPT_URL)) {
		cli_error("%s: %s", c->options[OPT_URL], why);
		if (code == CURLE_PEER_FAILED_VERIFICATION)
			cli_error("name its certificate with --fingerprint (postroad status on the node shows it) or "
				  "--ca-file");
	} else {
		/* curl speaks of the host in the URL, which stands for nothing here. */
		long error = 0;
		curl_easy_getinfo(c->http->curl, CURLINFO_OS_ERRNO, &error);
		if (code == CURLE_COULDNT_CONNECT && error != 0)
			why = strerror((int)error);
		cli_error("%s: %s", socket_path(c), why);
		if (code == CURLE_COULDNT_CONNECT)
			cli_error("is postroadd running, and may you open its admin socket? (--socket names another)");
	}
	return EXIT_FAILED;
}

/* ---- calling ---- */

static struct curl_slist *request_headers(const struct cli *c, const struct http_request *rq)
{
	struct curl_slist *list = NULL;
	char *line;

	/* curl would wait a second for 100 Continue before sending a larger body. */
	list = curl_slist_append(list, "Expect:");
	if (c->http->token_header != NULL)
		list = curl_slist_append(list, c->http->token_header);
	if (rq->body != NULL) {
		line = xasprintf("Content-Type: %s", rq->content_type != NULL ? rq->content_type : "application/json");
		list = curl_slist_append(list, line);
		free(line);
	}
	if (rq->if_match != NULL) {
		line = xasprintf("If-Match: %s", rq->if_match);
		list = curl_slist_append(list, line);
		free(line);
	}
	if (rq->if_none)
		list = curl_slist_append(list, "If-None-Match: *");
	return list;
}

static CURLcode perform(struct cli *c, struct transfer *t, const char *path, struct curl_slist *headers)
{
	CURL *curl = c->http->curl;
	size_t base_n = strlen(c->http->base);
	bool has_slash = base_n > 0 && c->http->base[base_n - 1] == '/';
	char *url = xasprintf("%.*s%s", (int)(has_slash ? base_n - 1 : base_n), c->http->base, path);

	c->http->trouble[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header_line);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	CURLcode code = curl_easy_perform(curl);
	curl_slist_free_all(headers);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	free(url);
	return code;
}

int http_call(struct cli *c, const struct http_request *rq, struct http_reply *ret)
{
	struct transfer t = { .reply = ret };
	int rc = set_up(c);

	memset(ret, 0, sizeof(*ret));
	if (rc != EXIT_DONE)
		return rc;
	char *text = rq->body != NULL ? json_dumps(rq->body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	curl_easy_setopt(c->http->curl, CURLOPT_CUSTOMREQUEST, rq->method);
	curl_easy_setopt(c->http->curl, CURLOPT_HTTPGET, 1L);
	if (text != NULL) {
		curl_easy_setopt(c->http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
		curl_easy_setopt(c->http->curl, CURLOPT_POSTFIELDS, text);
	}
	CURLcode code = perform(c, &t, rq->path, request_headers(c, rq));
	curl_easy_setopt(c->http->curl, CURLOPT_POSTFIELDS, NULL);
	free(text);
	if (t.is_too_big) {
		cli_error("the answer is larger than %zu MiB", REPLY_MAX >> 20);
		rc = EXIT_FAILED;
	} else if (code != CURLE_OK) {
		rc = explain_trouble(c, code);
	} else {
		ret->json = ret->body.n > 0 ? json_loadb(ret->body.p, ret->body.n, JSON_DECODE_ANY, NULL) : NULL;
		if (ret->status / 100 != 2 && ret->status != rq->also_fine)
			rc = explain_refusal(c, ret);
	}
	/* Without a place to ask at it is accepted, and goes on. */
	if (rc == EXIT_DONE && ret->status == 202 && ret->location != NULL) {
		cli_error("the outcome is not known yet; ask for it at %s", ret->location);
		rc = EXIT_FAILED;
	}
	if (rc != EXIT_DONE)
		http_reply_fini(ret);
	return rc;
}

int http_get(struct cli *c, const char *path, struct http_reply *ret)
{
	struct http_request rq = { .method = "GET", .path = path };

	return http_call(c, &rq, ret);
}

int http_stream(struct cli *c, const char *path, const char *last_event_id, http_line_fn *fn, void *arg)
{
	struct http_reply reply = { 0 };
	struct transfer t = { .reply = &reply, .line_fn = fn, .line_arg = arg };
	struct http_request rq = { .method = "GET", .path = path };
	int rc = set_up(c);

	if (rc != EXIT_DONE)
		return rc;
	struct curl_slist *headers = request_headers(c, &rq);
	if (last_event_id != NULL) {
		char *line = xasprintf("Last-Event-ID: %s", last_event_id);
		headers = curl_slist_append(headers, line);
		free(line);
	}
	curl_easy_setopt(c->http->curl, CURLOPT_CUSTOMREQUEST, "GET");
	curl_easy_setopt(c->http->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(c->http->curl, CURLOPT_TIMEOUT, 0L);
	curl_easy_setopt(c->http->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c->http->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c->http->curl, CURLOPT_XFERINFODATA, &t);
	t.heard_ms = clock_mono_ms();
	CURLcode code = perform(c, &t, path, headers);
	if (t.is_ended_by_reader) {
		rc = EXIT_DONE;
	} else if (code == CURLE_ABORTED_BY_CALLBACK) {
		cli_error("the node has been silent for a minute");
		rc = EXIT_FAILED;
	} else if (code != CURLE_OK) {
		rc = explain_trouble(c, code);
	} else if (reply.status / 100 != 2) {
		reply.json = reply.body.n > 0 ? json_loadb(reply.body.p, reply.body.n, JSON_DECODE_ANY, NULL) : NULL;
		rc = explain_refusal(c, &reply);
	}
	http_reply_fini(&reply);
	return rc;
}
