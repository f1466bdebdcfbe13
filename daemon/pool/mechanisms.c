/* SPDX-License-Identifier: Apache-2.0
 * Names of SASL mechanisms: a table that only grows.
 *
 * Readers take no lock: a name is written before the count that shows it, and never changes.
 */
#include "daemon/pool/mechanisms.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>

#include "daemon/smtp/smtp.h"

static char names[MECHANISMS_MAX][MECHANISM_NAME_MAX + 1];
static _Atomic unsigned n_names;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

/* RFC 4422 3.1, in upper case; false = no name. */
static bool read_name(struct str word, char out[MECHANISM_NAME_MAX + 1])
{
	if (word.n == 0 || word.n > MECHANISM_NAME_MAX)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		out[i] = (char)toupper((unsigned char)word.p[i]);
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", out[i]) == NULL)
			return false;
	}
	out[word.n] = '\0';
	return true;
}

static unsigned find(const char *name)
{
	unsigned n = atomic_load_explicit(&n_names, memory_order_acquire);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return MECHANISMS_MAX;
}

static unsigned add(const char *name)
{
	pthread_mutex_lock(&adding);
	unsigned i = find(name), n = atomic_load_explicit(&n_names, memory_order_relaxed);
	if (i == MECHANISMS_MAX && n < MECHANISMS_MAX) {
		i = n;
		strcpy(names[i], name); /* it fits: read_name() */
		atomic_store_explicit(&n_names, n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&adding);
	return i;
}

uint64_t mechanisms_of(struct str list)
{
	char name[MECHANISM_NAME_MAX + 1];
	uint64_t bits = 0;
	const char *end = list.n > 0 ? list.p + list.n : list.p;

	for (const char *p = list.p; p != end;) {
		const char *word = p;
		while (p != end && *p != ' ')
			p++;
		if (read_name((struct str) { word, (size_t)(p - word) }, name)) {
			unsigned i = find(name);
			i = i < MECHANISMS_MAX ? i : add(name);
			bits |= i < MECHANISMS_MAX ? 1ull << i : 0;
		}
		p += p != end;
	}
	return bits;
}

const char *mechanism_name(unsigned bit)
{
	ASSERT(bit < atomic_load_explicit(&n_names, memory_order_acquire));
	return names[bit];
}
