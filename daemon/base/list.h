/* SPDX-License-Identifier: Apache-2.0
 * Intrusive doubly linked list: a head and its members are the same struct, an empty head points at itself.
 * A member that is in no list points at itself too, so list_remove() is idempotent after list_init().
 */
#ifndef POSTROAD_BASE_LIST_H
#define POSTROAD_BASE_LIST_H

#include "daemon/base/obj.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_between(struct list *l, struct list *prev, struct list *next)
{
	l->prev = prev;
	l->next = next;
	prev->next = l;
	next->prev = l;
}

/* Puts l first (push) or last (append) in head. l must be in no list. */
static inline void list_push(struct list *head, struct list *l)
{
	list_insert_between(l, head, head->next);
}

static inline void list_append(struct list *head, struct list *l)
{
	list_insert_between(l, head->prev, head);
}

static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#define LIST_FIRST(head, type, member) CONTAINER_OF((head)->next, type, member)
#define LIST_LAST(head, type, member) CONTAINER_OF((head)->prev, type, member)
/* Safe against removal of `it` itself; `tmp` is a struct list *. */
#define LIST_FOR_EACH(it, tmp, head, member)                                                                           \
	for ((tmp) = (head)->next, (it) = CONTAINER_OF((tmp), __typeof__(*(it)), member);                              \
	     &(it)->member != (head) && ((tmp) = (tmp)->next, true);                                                   \
	     (it) = CONTAINER_OF((tmp), __typeof__(*(it)), member))

#endif
