/* SPDX-License-Identifier: Apache-2.0
 * TLS handshakes, counted by side, version and result.
 */
#include "daemon/net/handshakes.h"

#include "daemon/base/metrics.h"
#include "daemon/base/obj.h"

enum { VERSION_1_2, VERSION_1_3, VERSIONS };
enum { RESULT_FULL, RESULT_RESUMED, RESULTS };

const char *const handshake_side_names[HANDSHAKE_SIDES] = { "client", "server", "check" };

/* Written once, before there are other threads. */
static series_id done[HANDSHAKE_SIDES][VERSIONS][RESULTS], failed[HANDSHAKE_SIDES];

void handshakes_init(void)
{
	static const char *const versions[] = { "1.2", "1.3" };
	static const char *const results[] = { "ok", "resumed" };

	for (size_t s = 0; s < HANDSHAKE_SIDES; s++) {
		failed[s] = metrics_series(METRIC_TLS_HANDSHAKES_TOTAL,
					   (const char *[]) { handshake_side_names[s], "none", "failed" });
		for (size_t v = 0; v < VERSIONS; v++)
			for (size_t r = 0; r < RESULTS; r++)
				done[s][v][r] = metrics_series(
					METRIC_TLS_HANDSHAKES_TOTAL,
					(const char *[]) { handshake_side_names[s], versions[v], results[r] });
	}
}

void handshakes_succeeded(enum handshake_side side, const struct stream_tls_info *info)
{
	int version = str_eq(str_from(info->version), STR("TLSv1.3")) ? VERSION_1_3 : VERSION_1_2;

	metrics_add(done[side][version][info->resumed ? RESULT_RESUMED : RESULT_FULL], 1);
}

void handshakes_failed(enum handshake_side side)
{
	metrics_add(failed[side], 1);
}
