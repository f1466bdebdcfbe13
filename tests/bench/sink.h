/* SPDX-License-Identifier: Apache-2.0
 * What the files of postroad-sink share: options, a worker, a connection, the record of a message.
 */
#ifndef POSTROAD_TESTS_BENCH_SINK_H
#define POSTROAD_TESTS_BENCH_SINK_H

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

#define LISTEN_MAX 8
#define LINE_MAX_BYTES 4096
#define HEAD_MAX 2048

/* ---- options ---- */

enum stage { STAGE_CONNECT, STAGE_HELO, STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_DOT, STAGE_COUNT };

struct failure {
	unsigned code;   /* 0 = close without a reply */
	double fraction; /* of the commands of that stage; 0 = never */
};

struct options {
	struct addr listen[LISTEN_MAX];
	size_t n_listen;
	unsigned threads;
	unsigned delay_dot_ms;
	struct failure fail[STAGE_COUNT];
	int store_fd; /* -1 = none */
	bool fsync;
	bool xclient;       /* announce and take it */
	bool proxy;         /* the PROXY protocol comes first, and the greeting behind it */
	char greeting[320]; /* whole replies with CRLF */
	char helo[320];
	char ehlo[768];
};

extern struct options options; /* written by sink_options_parse() before any thread starts */

/* Reads the command line; ends the process on --help (0) and on a mistake (2). */
void sink_options_parse(int argc, char **argv);

/* ---- the record of what arrived (--store) ---- */

struct store {
	EVP_MD_CTX *digest;
	uint64_t bytes; /* of the message without dot-stuffing and end mark */
	uint8_t state;  /* where in a line the un-stuffing stands */
	bool bare_newline, nul;
	char head[HEAD_MAX]; /* begin of the message, for its id */
	size_t n_head;
	char client[ADDR_TEXT_MAX]; /* whom PROXY or XCLIENT named; "" = nobody */
	struct sbuf envelope;       /* " from=<…> to=<…>,<…>" */
};

void store_fini(struct store *s);
void store_mail(struct store *s, const char *path); /* starts a record */
void store_rcpt(struct store *s, const char *path);
void store_data(struct store *s); /* the content starts */
/* Dot-stuffed bytes as they came, the end mark included, in pieces of any size. */
void store_feed(struct store *s, const char *p, size_t n);
/* Appends one line to the file, synced where asked for: done before the message is acknowledged. */
void store_message(struct store *s);

/* ---- workers and connections ---- */

struct stats {
	_Atomic uint64_t connections, closed, messages, bytes, failed;
};

#define CONN_MAGIC 0x51c0001u

struct conn {
	uint32_t magic;
	int fd;
	bool in_data;
	bool want_proxy; /* its header is still to come */
	bool waiting;    /* for the delayed reply to its dot: not in the poll set, nothing is read or executed */
	bool closing;    /* to be closed once the replies are out */
	bool have_helo, have_mail;
	unsigned n_rcpt;
	uint8_t eod; /* bytes of CRLF . CRLF matched */
	char *held;  /* read, not executed yet */
	size_t n_held, cap_held;
	struct conn *next; /* in the queue of delayed replies */
	int64_t due_us;
	struct store store;
};

struct worker {
	unsigned index;
	pthread_t thread;
	int epoll_fd, stop_fd;
	int listen_fds[LISTEN_MAX];
	uint64_t random;
	struct conn *delayed, **delayed_tail;
	struct stats stats;
	size_t n_out;
	char out[16384];
	char in[262144];
};

void sink_reply(struct worker *w, struct conn *c, const char *text);
/* Throws the dice for one stage; true = it failed and the reply, or the close, is arranged. */
bool sink_fails(struct worker *w, struct conn *c, enum stage stage);
/* Takes a PROXY header (versions 1 and 2) from the begin of [p, p+n). Returns its length, 0 = more is needed, -1 = it
 * is none. client: the address it names, "" = none (LOCAL, UNKNOWN). */
ssize_t sink_proxy(const char *p, size_t n, char client[ADDR_TEXT_MAX]);
/* Executes one command line (NUL-terminated, without its CRLF). */
void sink_command(struct worker *w, struct conn *c, char *line);

#endif
