/* SPDX-License-Identifier: Apache-2.0
 * What the files of postroad(1) share: the command table, one invocation, and the small helpers every command uses.
 */
#ifndef POSTROAD_CLI_CLI_H
#define POSTROAD_CLI_CLI_H

#include <jansson.h>

#include "daemon/base/str.h"

#define CLI_API "/api/v1"
#define CLI_ARGS_MAX 64
#define CLI_SOCKET_DEFAULT "/run/postroad/admin.sock"

enum cli_exit { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNHEALTHY = 3 };

/* ---- options: one row each in options.c ---- */

enum option {
	/* every command takes these */
	OPT_SOCKET,
	OPT_URL,
	OPT_TOKEN_FILE,
	OPT_CA_FILE,
	OPT_FINGERPRINT,
	OPT_TIMEOUT,
	OPT_JSON,
	OPT_HELP,
	OPT_GLOBAL_COUNT,
	/* a command takes these where its row says so */
	OPT_DRY_RUN = OPT_GLOBAL_COUNT,
	OPT_YES,
	OPT_EFFECTIVE,
	OPT_WITH_SECRETS,
	OPT_LOCAL,
	OPT_WAIT,
	OPT_LIMIT,
	OPT_COUNT_LINES,
	OPT_INTERVAL,
	OPT_AFTER,
	OPT_LISTENER,
	OPT_CLIENT,
	OPT_HELO,
	OPT_USER,
	OPT_CLIENT_CERTIFICATE,
	OPT_FROM,
	OPT_SIZE,
	OPT_ROLE,
	OPT_EXPIRES,
	OPT_PASSWORD_FILE,
	OPT_LINK,
	OPT_NAME,
	OPT_LISTEN,
	OPT_VOTER_ONLY,
	OPT_REPLACE,
	OPT_TTL,
	OPT_FORCE,
	OPT_OUT,
	OPT_PASSPHRASE_FILE,
	OPT_COUNT
};
#define OPT(name) (UINT64_C(1) << OPT_##name)

struct option_def {
	const char *name; /* without "--" */
	const char *arg;  /* NULL = a flag */
	const char *help;
};
extern const struct option_def option_defs[OPT_COUNT];

/* ---- commands: one row each in cli.c ---- */

struct cli;
typedef int cli_run_fn(struct cli *c);

struct command {
	const char *words; /* "config apply" */
	const char *args;  /* "FILE", "" = none */
	unsigned min_args, max_args;
	uint64_t options; /* OPT() bits beyond the global ones; OPT(TOKEN_FILE): it has a use of its own for that */
	const char *summary;
	const char *examples; /* one a line: "command  # what it does" */
	const char *text;     /* a paragraph, NULL = the summary says it all */
	cli_run_fn *run;
};
extern const struct command cli_commands[];
extern const size_t cli_command_count;

/* One invocation. */
struct cli {
	const struct command *command;
	const char *args[CLI_ARGS_MAX]; /* without the command's words */
	unsigned n_args;
	const char *options[OPT_COUNT]; /* value, "" for a flag, NULL = not given */
	bool colour;
	struct http *http;
};

/* Sorts argv into options and arguments. Stops a command name from being needed for --help. EXIT_DONE or EXIT_USAGE
 * (explained). */
int options_parse(struct cli *c, int argc, char **argv) MUST_CHECK;
/* Refuses options the command does not take. */
int options_check(const struct cli *c) MUST_CHECK;
/* A whole number within bounds, or fallback when absent. False = it is not one (explained). */
bool options_number(const struct cli *c, enum option o, long min, long max, long *ret) MUST_CHECK;
bool cli_has(const struct cli *c, enum option o);

/* ---- messages ---- */

/* "postroad: …" on standard error. */
void cli_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Asks on the terminal unless --yes. EXIT_DONE = go on. Without a terminal and without --yes: EXIT_USAGE. */
int cli_confirm(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
/* Pretty-prints on standard output. */
void cli_print_json(const json_t *j);
/* A whole file or, for "-", standard input; bounded. NULL = failed (explained). The caller frees. */
char *cli_read_file(const char *name, size_t max, size_t *ret_n) MUST_CHECK;
/* A secret of one line without its end, from a file, or standard input for "-" and NULL; a terminal is asked, without
 * an echo. More than max bytes are cut: leave room to see that. False = failed (explained). The caller wipes out. */
bool cli_read_secret(const char *file, const char *prompt, char *out, size_t max, size_t *ret_n) MUST_CHECK;
/* Nearest of the candidates, NULL = none is near. */
const char *cli_nearest(const char *word, const char *(*candidate)(size_t i));

/* ---- reading answers: absent or of another type gives the neutral value ---- */

const char *cli_str(const json_t *object, const char *key);
long long cli_int(const json_t *object, const char *key);
bool cli_is_true(const json_t *object, const char *key);
/* A scalar as text into out[n]; returns out. null and absent give "". */
const char *cli_scalar(const json_t *value, char *out, size_t n);
/* Seconds as "3d 4h", "12m 3s", "0.4s". */
const char *cli_duration(double seconds, char *out, size_t n);
/* Bytes as "1.5MiB". */
const char *cli_bytes(double bytes, char *out, size_t n);

/* ---- HTTP ---- */

struct http_request {
	const char *method, *path;
	const json_t *body;       /* NULL = none */
	const char *content_type; /* NULL = application/json */
	const char *if_match;     /* NULL = no precondition */
	bool if_none;             /* only if there is nothing yet */
	long also_fine;           /* a status outside 2xx that the command handles itself */
};

struct http_reply {
	long status;
	char *etag, *location;
	json_t *json; /* NULL = the body is no JSON */
	struct sbuf body;
};

/* EXIT_DONE: 2xx (or also_fine). Otherwise explained: problem documents line by line, connection trouble in a sentence.
 */
int http_call(struct cli *c, const struct http_request *rq, struct http_reply *ret) MUST_CHECK;
void http_reply_fini(struct http_reply *rp);
/* GET, shorthand. */
int http_get(struct cli *c, const char *path, struct http_reply *ret) MUST_CHECK;
/* Reads a stream line by line (without the line end) until it ends or fn returns false. No deadline for the whole: it
 * lasts until the user ends it; connecting has one. */
typedef bool http_line_fn(const char *line, void *arg);
int http_stream(struct cli *c, const char *path, const char *last_event_id, http_line_fn *fn, void *arg) MUST_CHECK;
void http_free(struct http *h);
/* Appends one path segment, percent-encoded. */
void http_add_segment(struct sbuf *path, const char *segment);

/* ---- server-sent events ---- */

struct sse {
	struct sbuf id, type, data;
	/* One event; false ends the stream. */
	bool (*on_event)(struct sse *e, void *arg);
	void *arg;
};
/* An http_line_fn; arg is the struct sse. */
bool sse_line(const char *line, void *arg);
void sse_fini(struct sse *e);

/* ---- tables ---- */

enum table_tone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_DIM };

struct table;
/* headers: "POOL SERVER STATE", one word a column; a leading ">" aligns right. */
struct table *table_new(const char *headers);
/* Cells row by row; control characters are replaced, so that a remote party cannot drive the terminal. */
void table_add(struct table *t, const char *text);
void table_add_tone(struct table *t, const char *text, enum table_tone tone);
void table_add_int(struct table *t, long long n);
/* A server or node state, coloured by what it means. */
void table_add_state(struct table *t, const char *state);
size_t table_rows(const struct table *t);
/* Prints and frees. */
void table_end(struct table *t, bool colour);
/* The same after an empty line; one without rows is not printed at all. */
void table_end_if_any(struct table *t, bool colour);
/* Text for a terminal: control characters replaced; printed on standard output. */
void table_put_safe(const char *text);

/* ---- help, completion, manual ---- */

void help_overview(void);
void help_command(const struct command *k);
/* Commands that start with this word; false = there is none. */
bool help_group(const char *word);
void help_mdoc(void);
/* The nearest command's words for what was typed, NULL = none. */
const char *help_nearest(const char *first, const char *second);

/* ---- handlers ---- */

cli_run_fn cmd_status, cmd_top, cmd_config_get, cmd_config_apply, cmd_config_edit, cmd_config_diff, cmd_config_history,
	cmd_config_rollback, cmd_config_check, cmd_server_list, cmd_server_state, cmd_server_weight, cmd_node_list,
	cmd_node_state, cmd_vip_list, cmd_vip_move, cmd_vip_rebalance, cmd_session_list, cmd_session_kill,
	cmd_session_trace, cmd_explain, cmd_events, cmd_token_create, cmd_token_revoke, cmd_token_list, cmd_user_add,
	cmd_user_remove, cmd_user_list, cmd_completion, cmd_cluster_init, cmd_cluster_token, cmd_cluster_tokens,
	cmd_cluster_revoke, cmd_cluster_join, cmd_cluster_leave, cmd_cluster_remove, cmd_cluster_replace,
	cmd_cluster_cancel, cmd_cluster_force_quorum, cmd_cluster_rotate_keys, cmd_cluster_status, cmd_cluster_backup,
	cmd_cluster_restore;

/* ---- configuration writes, shared by config and token commands ---- */

/* The document and its ETag. */
int config_fetch(struct cli *c, json_t **ret_document, char **ret_etag) MUST_CHECK;
/* Prints the changes of an answer ("+ path value"); returns their number, -1 = the answer holds none. */
int config_print_diff(const struct cli *c, const json_t *answer);

struct config_write {
	const char *method;       /* PUT or PATCH */
	const char *content_type; /* NULL = application/json */
	const json_t *body;
	const char *etag;
	bool dry_run;
};
/* PUT or PATCH of the document under that ETag. */
int config_write(struct cli *c, const struct config_write *w, struct http_reply *ret) MUST_CHECK;

#endif
