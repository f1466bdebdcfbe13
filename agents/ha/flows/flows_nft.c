/* SPDX-License-Identifier: Apache-2.0
 * Writing the table: commands in the words of nft(8), through libnftables.
 *
 * A command is a transaction: all of it happens, or nothing. Its text has nothing in it but what flows_text.c writes.
 */
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

/* The first line of what nftables says, which is its reason. */
static int refused(struct nft_ctx *ctx, struct flows_why *why)
{
	const char *said = nft_ctx_get_error_buffer(ctx);

	said = said != NULL ? said : "";
	const char *reason = strstr(said, "Error: ");
	reason = reason != NULL ? reason + strlen("Error: ") : said;
	return flows_fail(why, "nftables refuses: %.*s", (int)strcspn(reason, "\n"), reason);
}

static struct nft_ctx *context(struct flows_why *why)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (ctx == NULL || nft_ctx_buffer_output(ctx) != 0 || nft_ctx_buffer_error(ctx) != 0) {
		if (ctx != NULL)
			nft_ctx_free(ctx);
		flows_fail(why, "nftables cannot be used: %s", strerror(errno));
		return NULL;
	}
	return ctx;
}

int flows_nft_run(const char *commands, struct flows_why *why)
{
	struct nft_ctx *ctx = context(why);
	int rc = 0;

	if (ctx == NULL)
		return -1;
	if (nft_run_cmd_from_buffer(ctx, commands) != 0)
		rc = refused(ctx, why);
	nft_ctx_free(ctx);
	return rc;
}
