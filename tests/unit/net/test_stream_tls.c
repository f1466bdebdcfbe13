/* SPDX-License-Identifier: Apache-2.0
 * Promises of TLS on a stream: what a plain stream promises holds, nothing said in plaintext is taken for protected,
 * failures say why, ends are ends.
 */
#include "tests/unit/net/tls_ends.h"

static struct made ca, mail;
static struct tls_server *server;
static struct tls_client *client;

static int make_all(void **state)
{
	char *why = NULL;

	UNUSED(state);
	ca = made((struct made_like) { .cn = "CA" });
	mail = made((struct made_like) { .cn = "x", .san = "DNS:mail.example", .ca = &ca });
	struct tls_certificate *cert = made_certificate(&mail);
	server = tls_server_new(&(struct tls_server_conf) { .id = "in", .certificates = &cert, .n_certificates = 1 },
				&why);
	client = tls_client_new(&(struct tls_client_conf) { 0 }, &why);
	tls_certificate_unref(cert);
	return server == NULL || client == NULL;
}

static int free_all(void **state)
{
	UNUSED(state);
	tls_server_unref(server);
	tls_client_unref(client);
	made_free(&ca);
	made_free(&mail);
	return 0;
}

static void ends_tls(struct ends *p)
{
	ends_begin(p, server, client, "mail.example");
	ENDS_UNTIL(p, ends_settled(p));
	assert_int_equal(p->c.tls + p->s.tls, 2);
}

/* A server stream under TLS, and the other end of its connection as a bare descriptor in *ret_fd. */
static void server_only(struct ends *p, enum stream_tls_when when, int *ret_fd)
{
	ends_open(p);
	*ret_fd = dup(p->c.st.fd);
	assert_true(*ret_fd >= 0);
	stream_close(&p->c.st);
	assert_true(stream_tls_server(&p->s.st, server, when));
}

/* ---- the handshake ---- */

static void what_is_written_before_waits_for_the_handshake(void **state)
{
	struct stream_tls_info info;
	struct ends p;

	UNUSED(state);
	ends_begin(&p, server, client, "mail.example");
	assert_false(stream_tls_info(&p.s.st, &info));
	stream_puts(&p.c.st, "one ");
	stream_send(&p.c.st, "two ", 4);
	stream_puts(&p.c.st, "three");
	assert_int_equal(stream_queued(&p.c.st), 13);
	stream_puts(&p.s.st, "hello");
	ENDS_UNTIL(&p, p.s.got.n == 13 && p.c.got.n == 5);
	assert_string_equal(p.s.got.p, "one two three");
	assert_string_equal(p.c.got.p, "hello");
	assert_int_equal(p.c.tls, 1);
	assert_int_equal(p.s.tls, 1);
	ends_close(&p);
}

/* Moves single bytes between two descriptors; true while something may still come. */
static void relay_byte(int from, int to)
{
	char byte;

	if (recv(from, &byte, 1, MSG_DONTWAIT) == 1)
		assert_int_equal(send(to, &byte, 1, MSG_NOSIGNAL), 1);
}

static void a_handshake_byte_by_byte(int version)
{
	int a[2], b[2];
	struct ends p = { .l = loop_new() };

	ends_sockets(a);
	ends_sockets(b);
	stream_open(&p.c.st, p.l, a[0], &ends_ops, &p.c);
	stream_open(&p.s.st, p.l, b[0], &ends_ops, &p.s);
	assert_true(stream_tls_server(&p.s.st, server, STREAM_TLS_STARTTLS));
	assert_true(stream_tls_client(&p.c.st, client, &p.addr, "mail.example", STREAM_TLS_STARTTLS));
	SSL_set_max_proto_version(ends_ssl(&p.c), version);
	stream_puts(&p.c.st, "ping");
	stream_puts(&p.s.st, "pong");
	while (p.c.got.n < 4 || p.s.got.n < 4) {
		loop_turn(p.l, false);
		relay_byte(a[1], b[1]);
		relay_byte(b[1], a[1]);
		assert_int_equal(p.c.gone + p.s.gone, 0);
	}
	assert_string_equal(p.c.got.p, "pong");
	assert_string_equal(p.s.got.p, "ping");
	ends_close(&p);
	close(a[1]);
	close(b[1]);
}

static void handshakes_pass_byte_by_byte(void **state)
{
	UNUSED(state);
	a_handshake_byte_by_byte(TLS1_2_VERSION);
	a_handshake_byte_by_byte(TLS1_3_VERSION);
}

static void close_in_timer(void *arg)
{
	stream_close(arg);
}

static void a_peer_that_never_finishes_is_closed_by_the_owner(void **state)
{
	static const char half[] = "\x16\x03\x01\x02\x00\x01\x00"; /* a ClientHello's beginning */
	struct timer deadline;
	struct ends p;
	int fd;

	UNUSED(state);
	server_only(&p, STREAM_TLS_IMPLICIT, &fd);
	assert_int_equal(write(fd, half, sizeof(half) - 1), sizeof(half) - 1);
	stream_puts(&p.s.st, "never sent");
	timer_init(&deadline, close_in_timer, &p.s.st);
	timer_set_in(p.l, &deadline, 1);
	ENDS_UNTIL(&p, !stream_is_open(&p.s.st));
	assert_int_equal(p.s.gone + p.s.tls, 0);
	close(fd);
	ends_close(&p);
}

static void fails_on(const char *text, const char *why, bool half_close)
{
	struct ends p;
	int fd;

	server_only(&p, STREAM_TLS_IMPLICIT, &fd);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	if (half_close)
		shutdown(fd, SHUT_WR);
	ENDS_UNTIL(&p, p.s.gone > 0);
	loop_turn(p.l, false);
	assert_int_equal(p.s.gone, 1);
	assert_int_equal(p.s.gone_err, EPROTO);
	assert_int_equal(p.s.tls, 0);
	assert_string_equal(p.s.why, why);
	close(fd);
	ends_close(&p);
}

static void what_is_not_tls_is_told_as_such(void **state)
{
	UNUSED(state);
	fails_on("EHLO client.example\r\n", "wrong version number", false);
	fails_on("GET / HTTP/1.1\r\n\r\n", "http request", false);
	fails_on("\x16\x03", "closed during the handshake", true);
	fails_on("", "closed during the handshake", true);
}

static void a_reset_in_the_handshake_keeps_its_errno(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	assert_true(stream_tls_server(&p.s.st, server, STREAM_TLS_IMPLICIT));
	stream_abort(&p.c.st);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_int_equal(p.s.gone_err, ECONNRESET);
	assert_string_equal(p.s.why, "Connection reset by peer");
	ends_close(&p);
}

/* ---- STARTTLS ---- */

static void starttls_goes_behind_the_reply(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	p.s.start_server = server;
	p.s.when = p.c.when = STREAM_TLS_STARTTLS;
	p.c.start_client = client;
	stream_puts(&p.c.st, "STARTTLS\r\n");
	ENDS_UNTIL(&p, p.s.started != 0);
	assert_int_equal(p.s.started, 1);
	/* The owner queues its reply in the same turn, before it starts; from here it would be protected. */
	assert_int_equal(send(p.s.st.fd, "220 go\r\n", 8, 0), 8);
	ENDS_UNTIL(&p, ends_settled(&p));
	ends_talk(&p);
	assert_string_equal(p.s.got.p, "STARTTLS\r\nping");
	assert_string_equal(p.c.got.p, "220 go\r\npong");
	ends_close(&p);
}

static void what_was_queued_before_the_start_goes_out_in_plaintext(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	stream_puts(&p.s.st, "220 go\r\n");
	assert_true(stream_tls_server(&p.s.st, server, STREAM_TLS_STARTTLS));
	stream_puts(&p.s.st, "secret");
	p.c.start_client = client;
	p.c.when = STREAM_TLS_STARTTLS;
	ENDS_UNTIL(&p, p.c.got.n == 14);
	assert_string_equal(p.c.got.p, "220 go\r\nsecret");
	assert_int_equal(p.c.tls, 1);
	ends_close(&p);
}

static void plaintext_in_the_kernel_refuses_the_start(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	assert_int_equal(send(p.c.st.fd, "x", 1, 0), 1);
	assert_int_equal(send(p.s.st.fd, "x", 1, 0), 1);
	assert_false(stream_tls_server(&p.s.st, server, STREAM_TLS_STARTTLS));
	assert_false(stream_tls_client(&p.c.st, client, &p.addr, "mail.example", STREAM_TLS_STARTTLS));
	assert_false(stream_tls_is_on(&p.s.st));
	ENDS_UNTIL(&p, p.s.got.n == 1 && p.c.got.n == 1); /* as plain as before */
	ends_close(&p);
}

static void plaintext_in_the_keep_buffer_refuses_the_start(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	p.c.most = p.s.most = 1;
	stream_puts(&p.c.st, "ab");
	stream_puts(&p.s.st, "ab");
	ENDS_UNTIL(&p, p.s.got.n == 1 && p.c.got.n == 1);
	assert_false(stream_tls_server(&p.s.st, server, STREAM_TLS_STARTTLS));
	assert_false(stream_tls_client(&p.c.st, client, &p.addr, "mail.example", STREAM_TLS_STARTTLS));
	ends_close(&p);
}

static void injected(struct end *from, struct end *to, struct ends *p, const char *text)
{
	to->when = STREAM_TLS_STARTTLS;
	stream_puts(&from->st, text);
	ENDS_UNTIL(p, to->gone > 0);
	assert_int_equal(to->gone, 1);
	assert_int_equal(to->gone_err, EPROTO);
	assert_int_equal(to->tls, 0);
	assert_string_equal(to->why, "plaintext behind the start of TLS");
	assert_null(strstr(to->got.p, "injected"));
	ends_close(p);
}

static void plaintext_behind_the_line_in_one_read_ends_the_stream(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	p.s.start_server = server;
	injected(&p.c, &p.s, &p, "STARTTLS\r\nMAIL FROM:<injected@x>\r\n");
	ends_open(&p);
	p.c.start_client = client;
	injected(&p.s, &p.c, &p, "220 go\r\n250 injected\r\n");
}

static void plaintext_after_the_start_is_no_handshake(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_open(&p);
	assert_true(stream_tls_client(&p.c.st, client, &p.addr, "mail.example", STREAM_TLS_STARTTLS));
	stream_puts(&p.s.st, "250 injected\r\n");
	ENDS_UNTIL(&p, p.c.gone > 0);
	assert_int_equal(p.c.gone_err, EPROTO);
	assert_string_equal(p.c.why, "wrong version number");
	assert_int_equal(p.c.got.n, 0);
	ends_close(&p);
}

static void implicit_tls_takes_what_was_read_behind_a_header(void **state)
{
	struct ends p;

	UNUSED(state);
	for (int inside = 0; inside < 2; inside++) {
		ends_open(&p);
		stream_puts(&p.c.st, "PROXY UNKNOWN\r\n");
		assert_true(stream_tls_client(&p.c.st, client, &p.addr, "mail.example", STREAM_TLS_IMPLICIT));
		if (inside) {
			p.s.start_server = server;
		} else {
			p.s.most = 15;
			ENDS_UNTIL(&p, p.s.got.n == 15);
			p.s.most = 0;
			stream_resume(&p.s.st);
			assert_true(stream_tls_server(&p.s.st, server, STREAM_TLS_IMPLICIT));
		}
		ENDS_UNTIL(&p, ends_settled(&p));
		ends_talk(&p);
		assert_string_equal(p.s.got.p, "PROXY UNKNOWN\r\nping");
		ends_close(&p);
	}
}

static void tls_starts_once(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	assert_false(stream_tls_server(&p.s.st, server, STREAM_TLS_IMPLICIT));
	assert_false(stream_tls_client(&p.c.st, client, &p.addr, NULL, STREAM_TLS_STARTTLS));
	ends_close(&p);
	assert_false(stream_tls_server(&p.s.st, server, STREAM_TLS_IMPLICIT));
}

/* ---- transfer ---- */

enum { TOTAL = 3 * 1024 * 1024 };

static char *pattern(unsigned seed)
{
	char *p = xmalloc(TOTAL);

	for (size_t i = 0; i < TOTAL; i++)
		p[i] = (char)((i * 31 + seed) >> 3);
	return p;
}

/* Sends the next odd piece, unless much is queued. */
static void feed(struct stream *st, const char *p, size_t *at)
{
	size_t n = 1 + (*at * 7 + 13) % 70001;

	if (*at == TOTAL || stream_queued(st) > STREAM_HIGH_WATER)
		return;
	if (n > TOTAL - *at)
		n = TOTAL - *at;
	if (n % 2 == 0)
		stream_put(st, p + *at, n);
	else
		stream_send(st, p + *at, n);
	*at += n;
}

static void transfer(int version, bool bulk)
{
	char *up = pattern(1), *down = pattern(5);
	size_t sent_up = 0, sent_down = 0;
	struct ends p;

	ends_begin(&p, server, client, "mail.example");
	SSL_set_max_proto_version(ends_ssl(&p.c), version);
	stream_read_bulk(&p.s.st, bulk);
	p.s.most = 9973;
	p.c.pause_each = true;
	while (p.s.got.n < TOTAL || p.c.got.n < TOTAL) {
		feed(&p.c.st, up, &sent_up);
		feed(&p.s.st, down, &sent_down);
		loop_turn(p.l, false);
		assert_true(p.c.st.keep_n <= LOOP_SCRATCH && p.s.st.keep_n <= LOOP_SCRATCH);
		stream_resume(&p.s.st);
		stream_resume(&p.c.st);
		assert_int_equal(p.c.gone + p.s.gone, 0);
	}
	assert_memory_equal(p.s.got.p, up, TOTAL);
	assert_memory_equal(p.c.got.p, down, TOTAL);
	ends_close(&p);
	free(up);
	free(down);
}

static void big_transfers_both_ways_arrive_whole(void **state)
{
	UNUSED(state);
	transfer(TLS1_2_VERSION, false);
	transfer(TLS1_3_VERSION, true);
}

/* Everything is in the kernel and in OpenSSL's buffer when the sender stops: nothing else will wake the reader. */
static void nothing_is_left_behind_in_the_read_ahead(void **state)
{
	char block[100000];
	struct ends p;

	UNUSED(state);
	memset(block, 'x', sizeof(block));
	for (size_t n = 1; n < sizeof(block); n += 9999) {
		ends_tls(&p);
		stream_send(&p.c.st, block, n);
		ENDS_UNTIL(&p, p.s.got.n == n);
		assert_int_equal(p.s.st.keep_n, 0);
		ends_close(&p);
	}
}

static void a_turn_is_one_record(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	ends_talk(&p);
	uint64_t before = p.s.st.bytes_out;
	stream_puts(&p.s.st, "250-one\r\n");
	stream_printf(&p.s.st, "250 %s\r\n", "two");
	stream_send(&p.s.st, "!", 1);
	ENDS_UNTIL(&p, p.c.got.n == 4 + 19);
	/* RFC 8446 5.2: five bytes in front, the content type and a tag of sixteen behind. */
	assert_int_equal(p.s.st.bytes_out - before, 19 + 5 + 1 + 16);
	ends_close(&p);
}

static void a_paused_stream_holds_bytes_back_and_bounds_them(void **state)
{
	char *block = pattern(3);
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	stream_pause(&p.s.st);
	stream_send(&p.c.st, block, TOTAL);
	stream_notify_drained(&p.c.st);
	for (int i = 0; i < 500; i++)
		loop_turn(p.l, false);
	assert_int_equal(p.s.got.n, 0);
	assert_int_equal(p.s.st.keep_n, STREAM_KEEP_MAX);
	stream_resume(&p.s.st);
	ENDS_UNTIL(&p, p.s.got.n == TOTAL && p.c.drained == 1);
	assert_memory_equal(p.s.got.p, block, TOTAL);
	ends_close(&p);
	free(block);
}

static void a_paused_stream_notices_end_and_reset(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	stream_pause(&p.s.st);
	stream_close(&p.c.st);
	ENDS_UNTIL(&p, stream_at_eof(&p.s.st));
	assert_int_equal(p.s.gone, 0);
	stream_resume(&p.s.st);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_int_equal(p.s.gone_err, 0);
	ends_close(&p);
	ends_tls(&p);
	stream_pause(&p.s.st);
	stream_abort(&p.c.st);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_int_equal(p.s.gone_err, ECONNRESET);
	ends_close(&p);
}

/* ---- ends ---- */

static void an_end_with_and_without_close_notify_is_an_end(void **state)
{
	struct ends p;

	UNUSED(state);
	for (int bare = 0; bare < 2; bare++) {
		ends_tls(&p);
		stream_puts(&p.c.st, "last words");
		if (bare) {
			stream_flush(&p.c.st);
			shutdown(p.c.st.fd, SHUT_WR);
		} else {
			stream_close(&p.c.st);
		}
		ENDS_UNTIL(&p, p.s.gone > 0);
		assert_string_equal(p.s.got.p, "last words");
		assert_int_equal(p.s.gone_err, 0);
		assert_int_equal(p.s.gone, 1);
		assert_null(p.s.why);
		int told = SSL_get_shutdown(ends_ssl(&p.s)) & SSL_RECEIVED_SHUTDOWN;
		assert_int_equal(told != 0, !bare);
		ends_close(&p);
	}
}

static void after_a_shutdown_the_peer_goes_on(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	stream_puts(&p.c.st, "QUIT\r\n");
	stream_shutdown(&p.c.st);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_string_equal(p.s.got.p, "QUIT\r\n");
	assert_int_equal(p.s.gone_err, 0);
	stream_puts(&p.s.st, "221 bye\r\n");
	ENDS_UNTIL(&p, p.c.got.n == 9);
	assert_string_equal(p.c.got.p, "221 bye\r\n");
	ends_close(&p);
}

static void a_damaged_record_ends_the_stream_with_a_reason(void **state)
{
	static const char record[] = "\x17\x03\x03\x00\x15xxxxxxxxxxxxxxxxxxxxx";
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	assert_int_equal(send(p.c.st.fd, record, sizeof(record) - 1, 0), sizeof(record) - 1);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_int_equal(p.s.gone_err, EPROTO);
	assert_string_equal(p.s.why, "decryption failed or bad record mac");
	stream_puts(&p.s.st, "into the void");
	loop_turn(p.l, false);
	ends_close(&p);
}

/* ---- bounds ---- */

static void asking_without_reading_the_answers_is_bounded(void **state)
{
	char *block = pattern(3);
	struct ends p;

	UNUSED(state);
	ends_tls(&p);
	stream_pause(&p.c.st);
	stream_send(&p.s.st, block, TOTAL);
	for (int i = 0; i < 100000 && p.s.gone == 0; i++) {
		SSL_key_update(ends_ssl(&p.c), SSL_KEY_UPDATE_REQUESTED);
		stream_send(&p.c.st, "x", 1);
		loop_turn(p.l, false);
	}
	assert_int_equal(p.s.gone, 1);
	assert_int_equal(p.s.gone_err, EPROTO);
	assert_non_null(p.s.why);
	assert_true(stream_queued(&p.s.st) < TOTAL + 512 * 1024);
	ends_close(&p);
	free(block);
}

static void renegotiation_is_refused(void **state)
{
	struct ends p;

	UNUSED(state);
	ends_begin(&p, server, client, "mail.example");
	SSL_set_max_proto_version(ends_ssl(&p.c), TLS1_2_VERSION);
	ENDS_UNTIL(&p, ends_settled(&p));
	SSL_clear_options(ends_ssl(&p.c), SSL_OP_NO_RENEGOTIATION);
	assert_int_equal(SSL_renegotiate(ends_ssl(&p.c)), 1);
	assert_int_equal(SSL_do_handshake(ends_ssl(&p.c)), -1);
	stream_flush(&p.c.st);
	ENDS_UNTIL(&p, p.c.gone > 0);
	assert_string_equal(p.c.why, "no renegotiation");
	assert_int_equal(p.s.tls, 1);
	ends_close(&p);
}

/* ---- bindings ---- */

static void bindings(int version)
{
	uint8_t at_c[STREAM_TLS_BINDING_MAX], at_s[STREAM_TLS_BINDING_MAX], hash[EVP_MAX_MD_SIZE], other[64];
	unsigned n = 0;
	struct ends p;

	ends_open(&p);
	assert_int_equal(stream_tls_exporter(&p.c.st, at_c), 0);
	assert_int_equal(stream_tls_end_point(&p.c.st, at_c), 0);
	ends_close(&p);
	ends_begin(&p, server, client, "mail.example");
	SSL_set_max_proto_version(ends_ssl(&p.c), version);
	ENDS_UNTIL(&p, ends_settled(&p));
	X509_digest(mail.x, EVP_sha256(), hash, &n);
	assert_int_equal(stream_tls_end_point(&p.c.st, at_c), 32);
	assert_int_equal(stream_tls_end_point(&p.s.st, at_s), 32);
	assert_memory_equal(at_c, hash, 32);
	assert_memory_equal(at_s, hash, 32);
	assert_int_equal(stream_tls_exporter(&p.c.st, at_c), 32);
	assert_int_equal(stream_tls_exporter(&p.s.st, at_s), 32);
	assert_memory_equal(at_c, at_s, 32);
	ends_close(&p);
	ends_tls(&p);
	assert_int_equal(stream_tls_exporter(&p.c.st, other), 32);
	assert_memory_not_equal(other, at_c, 32); /* each connection has its own */
	ends_close(&p);
}

static void both_sides_have_the_same_channel_bindings(void **state)
{
	UNUSED(state);
	bindings(TLS1_2_VERSION);
	bindings(TLS1_3_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_before_waits_for_the_handshake),
		cmocka_unit_test(handshakes_pass_byte_by_byte),
		cmocka_unit_test(a_peer_that_never_finishes_is_closed_by_the_owner),
		cmocka_unit_test(what_is_not_tls_is_told_as_such),
		cmocka_unit_test(a_reset_in_the_handshake_keeps_its_errno),
		cmocka_unit_test(starttls_goes_behind_the_reply),
		cmocka_unit_test(what_was_queued_before_the_start_goes_out_in_plaintext),
		cmocka_unit_test(plaintext_in_the_kernel_refuses_the_start),
		cmocka_unit_test(plaintext_in_the_keep_buffer_refuses_the_start),
		cmocka_unit_test(plaintext_behind_the_line_in_one_read_ends_the_stream),
		cmocka_unit_test(plaintext_after_the_start_is_no_handshake),
		cmocka_unit_test(implicit_tls_takes_what_was_read_behind_a_header),
		cmocka_unit_test(tls_starts_once),
		cmocka_unit_test(big_transfers_both_ways_arrive_whole),
		cmocka_unit_test(nothing_is_left_behind_in_the_read_ahead),
		cmocka_unit_test(a_turn_is_one_record),
		cmocka_unit_test(a_paused_stream_holds_bytes_back_and_bounds_them),
		cmocka_unit_test(a_paused_stream_notices_end_and_reset),
		cmocka_unit_test(an_end_with_and_without_close_notify_is_an_end),
		cmocka_unit_test(after_a_shutdown_the_peer_goes_on),
		cmocka_unit_test(a_damaged_record_ends_the_stream_with_a_reason),
		cmocka_unit_test(asking_without_reading_the_answers_is_bounded),
		cmocka_unit_test(renegotiation_is_refused),
		cmocka_unit_test(both_sides_have_the_same_channel_bindings),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, make_all, free_all);
}
