/* SPDX-License-Identifier: Apache-2.0
 * Text tables: aligned columns, colour by meaning, nothing that could drive the reader's terminal.
 *
 * Cells hold what remote parties chose (HELO names, replies), so control characters never reach the terminal. Widths
 * are counted in code points: good enough for the Latin, Greek and Cyrillic names that occur, and never a reason to
 * link a Unicode library.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#define COLUMNS_MAX 16

struct cell {
	char *text;
	size_t width;
	enum table_tone tone;
};

struct table {
	char *headers[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t n_columns;
	struct cell *cells;
	size_t n, cap;
};

static size_t code_points(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* C0, DEL and the two-byte form of C1 (U+0080..U+009F), which some terminals obey. */
static void make_safe(char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char ch = (unsigned char)*s, next = (unsigned char)s[1];
		if (ch < 0x20 || ch == 0x7f)
			*s = '?';
		else if (ch == 0xc2 && next >= 0x80 && next < 0xa0)
			s[0] = s[1] = '?';
	}
}

void table_put_safe(const char *text)
{
	char *copy = xstrdup(text);

	make_safe(copy);
	fputs(copy, stdout);
	free(copy);
}

struct table *table_new(const char *headers)
{
	struct table *t = xcalloc(1, sizeof(*t));
	char *copy = xstrdup(headers), *save = NULL;

	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		ASSERT(t->n_columns < COLUMNS_MAX);
		t->right[t->n_columns] = *w == '>';
		w += *w == '>';
		t->widths[t->n_columns] = strlen(w);
		t->headers[t->n_columns++] = xstrdup(w);
	}
	free(copy);
	return t;
}

void table_add_tone(struct table *t, const char *text, enum table_tone tone)
{
	size_t column = t->n % t->n_columns;

	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = xrealloc(t->cells, t->cap * sizeof(*t->cells));
	}
	struct cell *cell = &t->cells[t->n++];
	cell->text = xstrdup(text == NULL || *text == '\0' ? "-" : text);
	make_safe(cell->text);
	cell->width = code_points(cell->text);
	cell->tone = tone;
	if (cell->width > t->widths[column])
		t->widths[column] = cell->width;
}

void table_add(struct table *t, const char *text)
{
	table_add_tone(t, text, TONE_PLAIN);
}

void table_add_int(struct table *t, long long n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", n);
	table_add(t, text);
}

void table_add_state(struct table *t, const char *state)
{
	static const struct {
		const char *state;
		enum table_tone tone;
	} tones[] = {
		{ "up", TONE_GOOD },       { "ready", TONE_GOOD },    { "listening", TONE_GOOD },
		{ "starting", TONE_WARN }, { "busy", TONE_WARN },     { "ejected", TONE_BAD },
		{ "down", TONE_BAD },      { "closed", TONE_BAD },    { "drain", TONE_WARN },
		{ "maint", TONE_WARN },    { "draining", TONE_WARN }, { "failed", TONE_BAD },
		{ "unknown", TONE_WARN },  { "stopping", TONE_WARN }, { "stale", TONE_WARN },
		{ "gone", TONE_BAD },
	};
	enum table_tone tone = TONE_PLAIN;

	for (size_t i = 0; i < ARRAY_LEN(tones); i++)
		if (strcmp(state, tones[i].state) == 0)
			tone = tones[i].tone;
	table_add_tone(t, state, tone);
}

size_t table_rows(const struct table *t)
{
	return t->n / t->n_columns;
}

static void put_cell(const struct table *t, size_t column, const struct cell *cell, bool colour)
{
	static const char *const codes[] = { "", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };
	bool is_last = column + 1 == t->n_columns, is_toned = colour && cell->tone != TONE_PLAIN;
	int pad = (int)(t->widths[column] - cell->width);

	if (t->right[column])
		printf("%*s", pad, "");
	printf("%s%s%s", is_toned ? codes[cell->tone] : "", cell->text, is_toned ? "\033[0m" : "");
	if (!is_last)
		printf("%*s", (t->right[column] ? 0 : pad) + 2, "");
}

static void print(const struct table *t, bool colour)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		struct cell head = { t->headers[i], strlen(t->headers[i]), TONE_DIM };
		put_cell(t, i, &head, colour);
	}
	putchar('\n');
	ASSERT(t->n % t->n_columns == 0);
	for (size_t i = 0; i < t->n; i++) {
		put_cell(t, i % t->n_columns, &t->cells[i], colour);
		if ((i + 1) % t->n_columns == 0)
			putchar('\n');
	}
}

static void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		free(t->headers[i]);
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void table_end(struct table *t, bool colour)
{
	print(t, colour);
	table_free(t);
}

void table_end_if_any(struct table *t, bool colour)
{
	if (t->n > 0) {
		putchar('\n');
		print(t, colour);
	}
	table_free(t);
}
