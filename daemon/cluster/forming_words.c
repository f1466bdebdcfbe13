/* SPDX-License-Identifier: Apache-2.0
 * What is said when this node's disk or log keeps it from becoming a member, or from taking one in: what to do.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/cluster/cluster_private.h"

char *forming_disk(int err)
{
	return xasprintf("The disk of this node: %s; make room, or mend it, and ask again.", strerror(abs(err)));
}

char *forming_unwritten(const struct store_result *r, const char *otherwise)
{
	if (r->result == CORE_FULL || r->error != 0)
		return forming_disk(r->error != 0 ? r->error : ENOSPC);
	return xstrdup(otherwise);
}

char *forming_unbecome(int err, int disk_error)
{
	switch (err) {
	case -EBUSY:
		return xstrdup(
			"A write has been under way on this node for 10 s: see what keeps its disk, and ask again.");
	case -ENOTCONN:
		return disk_error != 0
			       ? forming_disk(disk_error)
			       : xstrdup("The log of this node takes no writes now: `postroad status` says why.");
	case -EALREADY:
	case -EPERM:
		return xstrdup("The log of this node is another cluster's: `postroad cluster leave` first.");
	case -EINVAL:
		return xstrdup("The table of nodes is not one that this node's log takes.");
	default:
		return forming_disk(err);
	}
}
