/* SPDX-License-Identifier: Apache-2.0
 * The registry of metrics and the cells they are counted in.
 *
 * The hard thing: a worker counts without a lock while the control thread creates series. Cells live in chunks; each
 * thread has its own array of chunk pointers. A series is handed out only after every known thread has the chunks for
 * it, and a chunk never moves or goes, so counting is two loads and a store on memory that no other thread writes.
 *
 * Atomic read-modify-write on one shared cell was left out: at one per reply and per worker its cache line is the
 * busiest of the process.
 */
#include "daemon/base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/base/metrics_private.h"

static const double buckets_seconds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
					  1,     2.5,    5,     10,   30,    60,   120, 300,  600 };
static const double buckets_bytes[] = { 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864 };

#define BUCKETS_NONE NULL, 0
#define BUCKETS_SECONDS buckets_seconds, ARRAY_LEN(buckets_seconds)
#define BUCKETS_BYTES buckets_bytes, ARRAY_LEN(buckets_bytes)

const struct metric_family metric_families[METRIC_COUNT] = {
#define METRIC(ID, name, type, labels, buckets, scale, help)                                                           \
	[METRIC_##ID] = { name, type, labels, BUCKETS_##buckets, scale, help },
#include "daemon/base/metrics.tbl.h"
#undef METRIC
};

/* A series_id is family and first cell in one number, so that an observation finds its buckets without a look-up. */
#define CELL_BITS 22
#define CELLS_MAX (1u << CELL_BITS)
#define CHUNK_BITS 10
#define CHUNK_CELLS (1u << CHUNK_BITS)
#define CHUNKS_MAX (CELLS_MAX / CHUNK_CELLS)
_Static_assert(METRIC_COUNT < 1u << (32 - CELL_BITS), "a family's number fits beside the cell's");

struct chunk {
	_Alignas(64) _Atomic uint64_t cells[CHUNK_CELLS];
};

struct copy {
	bool known; /* under the lock */
	_Atomic(struct chunk *) chunks[CHUNKS_MAX];
};

static struct copy copies[METRIC_THREADS_MAX];
/* Threads that never named themselves add here atomically; gauges that are set live here too. */
static struct copy common = { .known = true };
static _Thread_local struct copy *own;
/* Those that are known, so that a sum does not look for threads that do not exist. Written under the lock. */
static struct copy *in_use[METRIC_THREADS_MAX];
static _Atomic size_t n_in_use;

/* Everything below is under the lock, but for `bounds`, which is written before the first id of its family is out. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *by_labels;
static struct metric_series **by_cell;
static uint32_t n_cells = 1; /* cell 0 is "none" */
static uint32_t n_chunks;
static struct {
	struct metric_series **list;
	size_t n, cap;
} families[METRIC_COUNT];
static uint64_t bounds[METRIC_COUNT][METRIC_BUCKETS_MAX]; /* the buckets in stored units */

void metrics_lock(void)
{
	pthread_mutex_lock(&lock);
}

void metrics_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

unsigned metrics_n_labels(const struct metric_family *f)
{
	unsigned n = f->labels[0] != '\0';

	for (const char *p = f->labels; *p != '\0'; p++)
		n += *p == ',';
	return n;
}

struct metric_series *const *metrics_family_series(enum metric m, size_t *ret_n)
{
	*ret_n = families[m].n;
	return families[m].list;
}

/* ---- cells ---- */

static void give_chunk(struct copy *c, uint32_t i)
{
	struct chunk *chunk = aligned_alloc(_Alignof(struct chunk), sizeof(*chunk));

	ASSERT(chunk != NULL);
	for (size_t k = 0; k < CHUNK_CELLS; k++)
		atomic_init(&chunk->cells[k], 0);
	atomic_store_explicit(&c->chunks[i], chunk, memory_order_release);
}

void metrics_thread(unsigned slot)
{
	ASSERT(slot < METRIC_THREADS_MAX);
	struct copy *c = &copies[slot];

	metrics_lock();
	for (uint32_t i = 0; !c->known && i < n_chunks; i++)
		give_chunk(c, i);
	if (!c->known) {
		size_t n = atomic_load_explicit(&n_in_use, memory_order_relaxed);
		in_use[n] = c;
		atomic_store_explicit(&n_in_use, n + 1, memory_order_release);
	}
	c->known = true;
	metrics_unlock();
	own = c;
}

static void reserve_chunks(uint32_t cells)
{
	for (; n_chunks * CHUNK_CELLS < cells; n_chunks++) {
		give_chunk(&common, n_chunks);
		for (size_t t = 0; t < METRIC_THREADS_MAX; t++)
			if (copies[t].known)
				give_chunk(&copies[t], n_chunks);
		by_cell = xrealloc(by_cell, (n_chunks + 1) * CHUNK_CELLS * sizeof(*by_cell));
	}
}

static _Atomic uint64_t *cell_of(struct copy *c, uint32_t cell)
{
	struct chunk *chunk = atomic_load_explicit(&c->chunks[cell >> CHUNK_BITS], memory_order_acquire);

	return chunk == NULL ? NULL : &chunk->cells[cell & (CHUNK_CELLS - 1)];
}

static void cell_add(uint32_t cell, uint64_t n)
{
	struct copy *c = own != NULL ? own : &common;
	_Atomic uint64_t *p = cell_of(c, cell);

	ASSERT(p != NULL);
	if (own == NULL) {
		atomic_fetch_add_explicit(p, n, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + n, memory_order_relaxed);
}

uint64_t metrics_cell_sum(uint32_t cell)
{
	uint64_t sum = atomic_load_explicit(cell_of(&common, cell), memory_order_relaxed);

	size_t n = atomic_load_explicit(&n_in_use, memory_order_acquire);

	for (size_t t = 0; t < n; t++) {
		_Atomic uint64_t *p = cell_of(in_use[t], cell);
		if (p != NULL)
			sum += atomic_load_explicit(p, memory_order_relaxed);
	}
	return sum;
}

/* ---- series ---- */

static uint32_t id_cell(series_id id)
{
	return id & (CELLS_MAX - 1);
}

static enum metric id_family(series_id id)
{
	return (enum metric)(id >> CELL_BITS);
}

static series_id series_number(const struct metric_series *s)
{
	return (uint32_t)s->family << CELL_BITS | s->cell;
}

static uint32_t cells_needed(const struct metric_family *f)
{
	return f->type == METRIC_HISTOGRAM ? f->n_buckets + 2 : 1;
}

/* Family and label values, each with its terminator: no two label sets share a key. */
static void make_key(struct sbuf *key, enum metric m, const char *const *values)
{
	unsigned n = metrics_n_labels(&metric_families[m]);

	sbuf_printf(key, "%d", (int)m);
	for (unsigned i = 0; i < n; i++) {
		sbuf_putc(key, '\0');
		sbuf_puts(key, values[i]);
	}
}

static void set_bounds(enum metric m)
{
	const struct metric_family *f = &metric_families[m];

	ASSERT(f->n_buckets <= METRIC_BUCKETS_MAX);
	for (unsigned i = 0; i < f->n_buckets; i++)
		bounds[m][i] = (uint64_t)(f->buckets[i] / f->scale + 0.5);
}

static struct metric_series *create(enum metric m, const char *const *values)
{
	const struct metric_family *f = &metric_families[m];
	unsigned n_labels = metrics_n_labels(f);

	if (n_cells + cells_needed(f) > CELLS_MAX)
		return NULL; /* counting nothing is better than ending the process */
	struct metric_series *s = xcalloc(1, sizeof(*s));
	s->family = m;
	s->cell = n_cells;
	s->values = xcalloc(n_labels + 1, sizeof(*s->values));
	for (unsigned i = 0; i < n_labels; i++)
		s->values[i] = xstrdup(values[i]);
	n_cells += cells_needed(f);
	reserve_chunks(n_cells);
	by_cell[s->cell] = s;
	if (families[m].n == families[m].cap) {
		families[m].cap = families[m].cap == 0 ? 8 : families[m].cap * 2;
		families[m].list = xrealloc(families[m].list, families[m].cap * sizeof(*families[m].list));
	}
	if (families[m].n == 0)
		set_bounds(m);
	families[m].list[families[m].n++] = s;
	return s;
}

series_id metrics_series(enum metric m, const char *const *values)
{
	struct sbuf key = { 0 };

	ASSERT((unsigned)m < METRIC_COUNT);
	make_key(&key, m, values);
	metrics_lock();
	if (by_labels == NULL)
		by_labels = map_new();
	struct metric_series *s = map_get(by_labels, (struct str) { key.p, key.n });
	if (s == NULL) {
		s = create(m, values);
		if (s != NULL)
			map_put(by_labels, (struct str) { key.p, key.n }, s);
	}
	if (s != NULL)
		s->retired = false; /* a server that comes back goes on counting where it stopped */
	series_id id = s != NULL ? series_number(s) : 0;
	metrics_unlock();
	sbuf_fini(&key);
	return id;
}

void metrics_retire(series_id id)
{
	if (id == 0)
		return;
	metrics_lock();
	struct metric_series *s = by_cell[id_cell(id)];
	s->retired = true;
	s->read = NULL; /* its argument may go with what the series described */
	metrics_unlock();
}

void metrics_read_with(series_id id, metrics_read_fn *fn, void *arg)
{
	if (id == 0)
		return;
	metrics_lock();
	struct metric_series *s = by_cell[id_cell(id)];
	s->read = fn;
	s->read_arg = arg;
	metrics_unlock();
}

/* ---- counting ---- */

void metrics_add(series_id id, uint64_t n)
{
	if (id != 0)
		cell_add(id_cell(id), n);
}

void metrics_observe(series_id id, uint64_t value)
{
	if (id == 0)
		return;
	enum metric m = id_family(id);
	unsigned n = metric_families[m].n_buckets, i = 0;

	while (i < n && value > bounds[m][i])
		i++;
	cell_add(id_cell(id) + i, 1);
	cell_add(id_cell(id) + n + 1, value);
}

void metrics_set(series_id id, int64_t value)
{
	if (id != 0)
		atomic_store_explicit(cell_of(&common, id_cell(id)), (uint64_t)value, memory_order_relaxed);
}

uint64_t metrics_value(series_id id)
{
	if (id == 0)
		return 0;
	const struct metric_family *f = &metric_families[id_family(id)];
	uint32_t counts = f->type == METRIC_HISTOGRAM ? f->n_buckets + 1 : 1;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < counts; i++)
		sum += metrics_cell_sum(id_cell(id) + i);
	return sum;
}
