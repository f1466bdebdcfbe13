/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_eod_feed() against a model that has no state. Invariants: output, verdict and count are the model's
 * however the input is cut; what leaves never holds CRLF . CRLF, a bare CR or a bare LF; a mode that rejects sends a
 * beginning of it. The first byte chooses the mode and how many cuts follow, a byte each.
 */
#include "daemon/smtp/smtp.h"
#include "tests/fuzz/eod_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size - 1 < data[0] / 2)
		return 0;
	struct str cuts = { (const char *)data + 1, data[0] / 2 };
	struct str text = { cuts.p + cuts.n, size - 1 - cuts.n };
	struct eod_model m = eod_model(text.p, text.n);
	struct eod_sink out = eod_fuzz_sink(text.n);
	struct smtp_eod e;

	smtp_eod_init(&e, data[0] % 2 == 0);
	ASSERT(eod_fuzz_feed(&e, &out, text, cuts) == m.consumed);
	ASSERT(eod_agrees(&e, &out, &m));
	ASSERT(eod_model_is_canonical(m.out, m.n));
	free(out.text);
	free(m.out);
	return 0;
}
