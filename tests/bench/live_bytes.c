/* SPDX-License-Identifier: Apache-2.0
 * livebytes.so: put before a program's libraries (LD_PRELOAD), it keeps the number of bytes that are allocated in the
 * file POSTROAD_LIVE_BYTES names, as a 64-bit number.
 *
 * The hard thing about memory after an attack: the allocator keeps what it was given back, so that the resident size
 * tells little about what the program still holds. This counts what was asked for and not yet freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, under the names it keeps for those who stand before it. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void __libc_free(void *p);

static _Atomic int64_t early; /* before the file is there */
static _Atomic int64_t *live = &early;

static void *taken(void *p)
{
	if (p != NULL)
		atomic_fetch_add_explicit(live, (int64_t)malloc_usable_size(p), memory_order_relaxed);
	return p;
}

static void given(void *p)
{
	if (p != NULL)
		atomic_fetch_sub_explicit(live, (int64_t)malloc_usable_size(p), memory_order_relaxed);
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	return taken(__libc_malloc(size));
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	return taken(__libc_calloc(n, size));
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
	size_t before = p != NULL ? malloc_usable_size(p) : 0;
	void *q = __libc_realloc(p, size);

	if (q != NULL || size == 0)
		atomic_fetch_sub_explicit(live, (int64_t)before, memory_order_relaxed);
	return taken(q);
}

__attribute__((visibility("default"))) void *memalign(size_t align, size_t size)
{
	return taken(__libc_memalign(align, size));
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t size)
{
	return taken(__libc_memalign(align, size));
}

__attribute__((visibility("default"))) int posix_memalign(void **ret, size_t align, size_t size)
{
	void *p = taken(__libc_memalign(align, size));

	if (p == NULL)
		return ENOMEM;
	*ret = p;
	return 0;
}

__attribute__((visibility("default"))) void free(void *p)
{
	given(p);
	__libc_free(p);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("POSTROAD_LIVE_BYTES");
	int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	if (ftruncate(fd, sizeof(int64_t)) == 0) {
		void *p = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (p != MAP_FAILED) {
			_Atomic int64_t *shared = p;

			atomic_store(shared, atomic_load(&early)); /* one thread yet */
			live = shared;
		}
	}
	close(fd);
}
