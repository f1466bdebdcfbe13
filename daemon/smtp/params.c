/* SPDX-License-Identifier: Apache-2.0
 * The arguments of MAIL and RCPT: the path and the parameters of extensions (RFC 5321 4.1.1.2, 4.1.1.3, 4.1.1.11).
 *
 * One row per parameter says which extension it belongs to and how its value is read. What is not announced to this
 * client is not known here: 555. The text of all parameters is handed on as written, so that what a server sees is what
 * was checked.
 */
#include "daemon/smtp/path.h"

#include "daemon/smtp/chars.h"

#define ENVID_MAX 100         /* RFC 3461 4.4 */
#define ADDRESS_PARAM_MAX 500 /* ORCPT: RFC 3461 4.2; AUTH: RFC 4954 3 */

enum verdict { PARAM_OK, PARAM_MALFORMED, PARAM_UNSUPPORTED };

/* The command being read: one of mail and rcpt is set. */
struct target {
	unsigned exts;
	struct smtp_mail *mail;
	struct smtp_rcpt *rcpt;
};

struct param {
	const char *name;
	unsigned ext;
	enum verdict (*read)(struct str value, struct target *t); /* value.p NULL: no "=" was there */
	const char *syntax;
};

/* ---- values ---- */

static enum verdict read_size(struct str v, struct target *t)
{
	t->mail->has_size = true;
	return smtp_u64(v, &t->mail->size) ? PARAM_OK : PARAM_MALFORMED;
}

static enum verdict read_body(struct str v, struct target *t)
{
	if (str_ieq(v, STR("BINARYMIME")))
		return PARAM_UNSUPPORTED;
	if (str_ieq(v, STR("7BIT")))
		t->mail->body = SMTP_BODY_7BIT;
	else if (str_ieq(v, STR("8BITMIME")))
		t->mail->body = SMTP_BODY_8BITMIME;
	else
		return PARAM_MALFORMED;
	return PARAM_OK;
}

static enum verdict read_smtputf8(struct str v, struct target *t)
{
	t->mail->smtputf8 = true;
	return v.p == NULL ? PARAM_OK : PARAM_MALFORMED;
}

static enum verdict read_ret(struct str v, struct target *t)
{
	t->mail->ret = v;
	return str_ieq(v, STR("FULL")) || str_ieq(v, STR("HDRS")) ? PARAM_OK : PARAM_MALFORMED;
}

static enum verdict read_envid(struct str v, struct target *t)
{
	t->mail->envid = v;
	return v.n > 0 && v.n <= ENVID_MAX && smtp_xtext_valid(v) ? PARAM_OK : PARAM_MALFORMED;
}

static enum verdict read_auth(struct str v, struct target *t)
{
	t->mail->auth = v;
	bool valid = str_eq(v, STR("<>")) || smtp_xtext_valid(v);
	return v.n > 0 && v.n <= ADDRESS_PARAM_MAX && valid ? PARAM_OK : PARAM_MALFORMED;
}

/* Each token but the last has a comma behind it. */
unsigned smtp_hops_count(struct str v)
{
	size_t step = SMTP_HOP_TOKEN + 1;
	size_t count = (v.n + 1) / step;

	if (v.n == 0 || (v.n + 1) % step != 0 || count > SMTP_HOPS_MAX)
		return 0;
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		if (i % step == SMTP_HOP_TOKEN ? c != ',' : !hex)
			return 0;
	}
	return (unsigned)count;
}

static enum verdict read_hops(struct str v, struct target *t)
{
	t->mail->hops = v;
	return smtp_hops_count(v) > 0 ? PARAM_OK : PARAM_MALFORMED;
}

static bool is_notify_word(struct str w)
{
	return str_ieq(w, STR("SUCCESS")) || str_ieq(w, STR("FAILURE")) || str_ieq(w, STR("DELAY"));
}

static enum verdict read_notify(struct str v, struct target *t)
{
	t->rcpt->notify = v;
	if (str_ieq(v, STR("NEVER")))
		return PARAM_OK;
	for (struct str rest = v;;) {
		const char *comma = rest.n > 0 ? memchr(rest.p, ',', rest.n) : NULL;
		struct str word = { rest.p, comma != NULL ? (size_t)(comma - rest.p) : rest.n };
		if (!is_notify_word(word))
			return PARAM_MALFORMED;
		if (comma == NULL)
			return PARAM_OK;
		rest = smtp_skip(rest, word.n + 1);
	}
}

static bool is_utf8_xtext(unsigned char c)
{
	return c > ' ' && c != '+' && c != '=' && c != 0x7f;
}

/* addr-type ";" xtext; type utf-8 may hold UTF-8 itself where SMTPUTF8 is on (RFC 6533 3). */
static enum verdict read_orcpt(struct str v, struct target *t)
{
	const char *semicolon = v.n > 0 ? memchr(v.p, ';', v.n) : NULL;

	t->rcpt->orcpt = v;
	if (semicolon == NULL || v.n > ADDRESS_PARAM_MAX)
		return PARAM_MALFORMED;
	struct str type = { v.p, (size_t)(semicolon - v.p) };
	struct str address = smtp_skip(v, type.n + 1);
	bool utf8 = str_ieq(type, STR("utf-8")) && (t->exts & SMTP_EXT_SMTPUTF8) != 0;
	if (type.n == 0 || !smtp_all(type, smtp_is_keyword) || address.n == 0)
		return PARAM_MALFORMED;
	if (utf8 && smtp_all(address, is_utf8_xtext) && smtp_utf8_valid(address))
		return PARAM_OK;
	return smtp_xtext_valid(address) ? PARAM_OK : PARAM_MALFORMED;
}

static const struct param mail_params[] = {
	{ "SIZE", SMTP_EXT_SIZE, read_size, "syntax: SIZE=octets" },
	{ "BODY", SMTP_EXT_8BITMIME, read_body, "syntax: BODY=7BIT or BODY=8BITMIME" },
	{ "SMTPUTF8", SMTP_EXT_SMTPUTF8, read_smtputf8, "SMTPUTF8 takes no value" },
	{ "RET", SMTP_EXT_DSN, read_ret, "syntax: RET=FULL or RET=HDRS" },
	{ "ENVID", SMTP_EXT_DSN, read_envid, "syntax: ENVID=xtext" },
	{ "AUTH", SMTP_EXT_AUTH, read_auth, "syntax: AUTH=xtext or AUTH=<>" },
	{ "XHOPS", SMTP_EXT_XHOPS, read_hops, "syntax: XHOPS=token,token" },
	{ 0 },
};

static const struct param rcpt_params[] = {
	{ "NOTIFY", SMTP_EXT_DSN, read_notify, "syntax: NOTIFY=NEVER or of SUCCESS,FAILURE,DELAY" },
	{ "ORCPT", SMTP_EXT_DSN, read_orcpt, "syntax: ORCPT=type;xtext" },
	{ 0 },
};

/* ---- the walk ---- */

static bool refuse(struct smtp_refusal *why, unsigned code, const char *enhanced, const char *text)
{
	*why = (struct smtp_refusal) { code, enhanced, text };
	return false;
}

static const struct param *param_find(const struct param *table, unsigned exts, struct str name)
{
	for (const struct param *row = table; row->name != NULL; row++)
		if ((exts & row->ext) != 0 && str_ieq(name, str_from(row->name)))
			return row;
	return NULL;
}

/* One "NAME=value". *seen has a bit per row of the table. */
static bool read_param(const struct param *table, struct str word, struct target *t, unsigned *seen,
		       struct smtp_refusal *why)
{
	const char *equals = memchr(word.p, '=', word.n);
	struct str name = { word.p, equals != NULL ? (size_t)(equals - word.p) : word.n };
	struct str value = equals != NULL ? smtp_skip(word, name.n + 1) : (struct str) { NULL, 0 };

	if (name.n == 0 || !smtp_all(name, smtp_is_keyword))
		return refuse(why, 501, "5.5.4", "malformed parameter");
	const struct param *row = param_find(table, t->exts, name);
	if (row == NULL)
		return refuse(why, 555, "5.5.4", "parameter not recognized");
	unsigned bit = 1u << (row - table);
	if ((*seen & bit) != 0)
		return refuse(why, 501, "5.5.4", "parameter given twice");
	*seen |= bit;
	switch (row->read(value, t)) {
	case PARAM_MALFORMED:
		return refuse(why, 501, "5.5.4", row->syntax);
	case PARAM_UNSUPPORTED:
		return refuse(why, 555, "5.5.4", "parameter value not supported");
	default:
		return true;
	}
}

static bool read_params(const struct param *table, struct str text, struct target *t, struct smtp_refusal *why)
{
	unsigned seen = 0;

	if (text.n > 0 && memchr(text.p, '\t', text.n) != NULL) /* not every server takes it for a space */
		return refuse(why, 501, "5.5.4", "tab between parameters");
	for (struct str rest = text; rest.n > 0;)
		if (!read_param(table, smtp_word(&rest), t, &seen, why))
			return false;
	return true;
}

/* "FROM:" or "TO:", blanks (not in the grammar, common in the wild), the path; what follows it is *params. */
static const char *read_path(struct str args, struct str keyword, struct smtp_path *path, struct str *params)
{
	struct str head = { args.p, keyword.n };

	if (args.n < keyword.n || !str_ieq(head, keyword))
		return "";
	args = smtp_trim(smtp_skip(args, keyword.n));
	const char *wrong = smtp_path_take(&args, path);
	*params = smtp_trim(args);
	if (wrong == NULL && args.n > 0 && params->p == args.p)
		return "malformed address";
	return wrong;
}

/* ---- the commands ---- */

bool smtp_mail_parse(struct str args, unsigned exts, struct smtp_mail *ret, struct smtp_refusal *ret_why)
{
	struct target t = { .exts = exts, .mail = ret };

	*ret = (struct smtp_mail) { 0 };
	const char *wrong = read_path(args, STR("FROM:"), &ret->path, &ret->params);
	if (wrong != NULL && wrong[0] == '\0')
		return refuse(ret_why, 501, "5.5.4", "syntax: MAIL FROM:<address>");
	if (wrong == NULL && ret->path.local.n > 0 && ret->path.domain.n == 0)
		wrong = "sender address needs a domain";
	if (wrong != NULL)
		return refuse(ret_why, 501, "5.1.7", wrong);
	if (!read_params(mail_params, ret->params, &t, ret_why))
		return false;
	if (ret->path.utf8 && !ret->smtputf8)
		return refuse(ret_why, 553, "5.6.7", "this address needs SMTPUTF8");
	return true;
}

bool smtp_rcpt_parse(struct str args, unsigned exts, struct smtp_rcpt *ret, struct smtp_refusal *ret_why)
{
	struct target t = { .exts = exts, .rcpt = ret };

	*ret = (struct smtp_rcpt) { 0 };
	const char *wrong = read_path(args, STR("TO:"), &ret->path, &ret->params);
	if (wrong != NULL && wrong[0] == '\0')
		return refuse(ret_why, 501, "5.5.4", "syntax: RCPT TO:<address>");
	bool postmaster = str_ieq(ret->path.local, STR("postmaster")); /* RFC 5321 4.5.1 */
	if (wrong == NULL && ret->path.domain.n == 0 && !postmaster)
		wrong = "recipient address needs a domain";
	if (wrong != NULL)
		return refuse(ret_why, 501, "5.1.3", wrong);
	if (!read_params(rcpt_params, ret->params, &t, ret_why))
		return false;
	if (ret->path.utf8 && (exts & SMTP_EXT_SMTPUTF8) == 0)
		return refuse(ret_why, 553, "5.6.7", "this address needs SMTPUTF8");
	return true;
}
