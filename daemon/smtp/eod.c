/* SPDX-License-Identifier: Apache-2.0
 * The end of data, and canonical lines on the way to it (RFC 5321 4.1.1.4, 4.5.2; RFC 3030 for BDAT).
 *
 * The hard thing is SMTP smuggling: no server behind us may see an end of data where we saw none. So the mark is the
 * literal CRLF . CRLF and nothing else; every other line ending is made CRLF; and a dot that thereby comes to stand
 * alone on a line, or at the start of a line that the client did not begin with CRLF, is doubled. A dot behind a real
 * CRLF is the client's own stuffing and passes. What leaves never holds CRLF . CRLF, a bare CR or a bare LF. The known
 * tricks, each followed by "x":
 *
 *	client sends       leaves             why
 *	\n.\n    \n.\r     \r\n..\r\n         the line start is ours, so is the dot to stuff
 *	\r.\n    \r.\r     \r\n..\r\n
 *	\n.\r\n  \r.\r\n   \r\n..\r\n
 *	\r\n.\n  \r\n.\r   \r\n..\r\n         a lone dot that would become the mark once its ending is repaired
 *	\r\n.\r\r\n        \r\n..\r\n\r\n
 *	\r\r\n.\r\r\n      \r\n\r\n..\r\n\r\n the CR before CRLF is a line ending of its own
 *	\r\n\0.\r\n        as it came         the NUL is noted: the session refuses the message
 *	\r\n.\0\r\n        as it came         likewise
 *
 * Held back at the end of a piece is only what may still turn out differently: a CR, a dot at a line start, or both.
 * When `normalize` is false and a bare CR or LF was seen, nothing leaves any more; the scan for the end goes on all the
 * same.
 *
 * One machine serves DATA and BDAT on either side. Its state is about the input alone; what differs is at the dots:
 * from BDAT a dot at a line start is content, and towards BDAT nothing is stuffed and the client's stuffing goes.
 */
#include "daemon/smtp/smtp.h"

#include "daemon/smtp/scan.h"

enum {
	LINE_START, /* behind a real CRLF, or at the beginning; a dot here is the client's stuffing, or the mark */
	RAW_START,  /* behind a CRLF of our making, or behind any from BDAT; a dot here is content */
	IN_LINE,
	CR,     /* a CR is held back */
	DOT,    /* LINE_START and a dot, held back */
	DOT_CR, /* and a CR, held back */
	STATES
};

static const uint8_t held_back[STATES] = { [CR] = 1, [DOT] = 1, [DOT_CR] = 2 };

/* One call of smtp_eod_feed(). p[from..i) is scanned and goes out with the next piece, but for what is held back. */
struct scan {
	struct smtp_eod *e;
	const char *p;
	size_t n, i, from;
	smtp_eod_out_fn *out;
	void *arg;
};

/* ---- output ---- */

static void emit(struct scan *s, const char *p, size_t n)
{
	bool spoilt = s->e->saw_bare_cr || s->e->saw_bare_lf;

	s->e->content += n;
	if (n > 0 && (s->e->normalize || !spoilt))
		s->out(p, n, s->arg);
}

/* How many of the bytes held back lie in this piece: the others came with an earlier one. */
static size_t held_here(const struct scan *s)
{
	size_t held = held_back[s->e->state];

	return held < s->i ? held : s->i;
}

/* Sends what was scanned, less what is held back. */
static void flush(struct scan *s)
{
	size_t n = s->i - held_here(s) - s->from;

	if (n > 0) /* a piece of nothing may be nowhere */
		emit(s, s->p + s->from, n);
	s->from = s->i;
}

/* What was held back is content after all. The part in this piece leaves with the piece, the rest is made up for. */
static void release(struct scan *s, const char *held)
{
	emit(s, held, held_back[s->e->state] - held_here(s));
}

/* Ends a line that the client ended with a bare CR or LF. `instead` replaces what is held back and the ending. */
static void repair(struct scan *s, bool *saw, const char *instead)
{
	flush(s);
	*saw = true;
	emit(s, instead, strlen(instead));
	s->e->state = RAW_START;
}

/* A lone dot on a line that the client did not end with CRLF: content. */
static void repair_dot(struct scan *s, bool *saw)
{
	bool stuffed = s->e->to == SMTP_BY_DATA;

	repair(s, saw, stuffed ? "..\r\n" : ".\r\n");
	s->e->content -= stuffed;
}

static void begin_line(struct smtp_eod *e)
{
	e->state = e->from == SMTP_BY_DATA ? LINE_START : RAW_START;
}

/* ---- states: each looks at p[i] ---- */

static void at_line_start(struct scan *s)
{
	bool dot = s->p[s->i] == '.';

	s->e->state = dot ? DOT : IN_LINE;
	s->i += dot;
}

static void at_raw_start(struct scan *s)
{
	if (s->p[s->i] == '.' && s->e->to == SMTP_BY_DATA) {
		/* The dot goes out twice, at the end of this piece and at the beginning of the next. */
		emit(s, s->p + s->from, s->i + 1 - s->from);
		s->from = s->i;
		s->e->content--;
	}
	s->e->state = IN_LINE;
}

/* Passes whole clean lines without a turn through the states: a short cut, taking it or not changes nothing. */
static void skip_clean(struct scan *s)
{
	const char *p = s->p;
	size_t n = s->n, i = s->i + scan_special(p + s->i, n - s->i);

	while (n - i > 2 && p[i] == '\r' && p[i + 1] == '\n' && p[i + 2] != '.') {
		i = scan_clean(p, n, i + 2);
		i += scan_special(p + i, n - i);
	}
	s->i = i;
}

static void in_line(struct scan *s)
{
	skip_clean(s);
	if (s->i == s->n)
		return;
	switch (s->p[s->i]) {
	case '\r':
		s->i++;
		s->e->state = CR;
		break;
	case '\n':
		repair(s, &s->e->saw_bare_lf, "\r\n");
		s->from = ++s->i;
		break;
	default:
		s->i++;
		s->e->saw_nul = true;
		break;
	}
}

static void after_cr(struct scan *s)
{
	if (s->p[s->i] != '\n') {
		repair(s, &s->e->saw_bare_cr, "\r\n");
		return;
	}
	release(s, "\r");
	s->i++;
	begin_line(s->e);
}

/* The dot held back is the client's stuffing, now that its line goes on. */
static void unstuff(struct scan *s)
{
	if (s->e->to == SMTP_BY_DATA) {
		release(s, ".");
		s->e->content--;
	} else {
		flush(s); /* leaves out what is held back */
	}
	s->e->state = IN_LINE;
}

static void after_dot(struct scan *s)
{
	switch (s->p[s->i]) {
	case '\r':
		s->i++;
		s->e->state = DOT_CR;
		break;
	case '\n':
		repair_dot(s, &s->e->saw_bare_lf);
		s->from = ++s->i;
		break;
	default:
		unstuff(s);
		break;
	}
}

static void after_dot_cr(struct scan *s)
{
	if (s->p[s->i] == '\n') {
		flush(s);
		s->i++;
		s->e->done = true;
		return;
	}
	repair_dot(s, &s->e->saw_bare_cr);
}

/* ---- public ---- */

void smtp_eod_init_pair(struct smtp_eod *e, bool normalize, enum smtp_by from, enum smtp_by to)
{
	*e = (struct smtp_eod) { .from = (uint8_t)from, .to = (uint8_t)to, .normalize = normalize };
	begin_line(e);
}

void smtp_eod_init(struct smtp_eod *e, bool normalize)
{
	smtp_eod_init_pair(e, normalize, SMTP_BY_DATA, SMTP_BY_DATA);
}

size_t smtp_eod_feed(struct smtp_eod *e, const char *p, size_t n, smtp_eod_out_fn *out, void *arg)
{
	static void (*const steps[STATES])(struct scan * s) = {
		[LINE_START] = at_line_start,
		[RAW_START] = at_raw_start,
		[IN_LINE] = in_line,
		[CR] = after_cr,
		[DOT] = after_dot,
		[DOT_CR] = after_dot_cr,
	};
	struct scan s = { .e = e, .p = p, .n = n, .out = out, .arg = arg };

	if (e->done)
		return 0;
	while (s.i < n && !e->done)
		steps[e->state](&s);
	if (!e->done)
		flush(&s);
	return s.i;
}

void smtp_eod_finish(struct smtp_eod *e, smtp_eod_out_fn *out, void *arg)
{
	struct scan s = { .e = e, .p = "", .out = out, .arg = arg };

	ASSERT(e->from == SMTP_BY_BDAT);
	if (e->done)
		return;
	if (e->state == CR)
		repair(&s, &e->saw_bare_cr, "\r\n");
	else if (e->state == IN_LINE)
		emit(&s, "\r\n", 2);
	e->state = RAW_START;
	e->done = true;
}
