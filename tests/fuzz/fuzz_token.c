/* SPDX-License-Identifier: Apache-2.0
 * Join tokens from text. What parses must come out the same when it is written and read again; and, as a fuzzer cannot
 * guess a checksum, every input is tried once more as what stands inside a token, with the right one behind it.
 */
#include <openssl/evp.h>

#include "cluster/trust/token.h"
#include "daemon/base/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_parse(struct str text)
{
	struct token t, again;
	char line[TOKEN_TEXT_MAX];
	const char *why = NULL;

	if (!token_parse(text, &t, &why)) {
		ASSERT(why != NULL);
		return;
	}
	token_format(&t, line);
	ASSERT(token_parse(str_from(line), &again, &why));
	ASSERT(again.n == t.n && again.expires == t.expires && strcmp(again.id, t.id) == 0);
	ASSERT(memcmp(again.secret, t.secret, sizeof(t.secret)) == 0);
	for (size_t i = 0; i < t.n; i++)
		ASSERT(addr_eq(&t.addresses[i], &again.addresses[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t inside[512], sum[32];
	char text[1024] = TOKEN_PREFIX;
	const size_t prefix = strlen(TOKEN_PREFIX);

	try_parse((struct str) { (const char *)data, size });
	if (size > sizeof(inside) - 4)
		return 0;
	if (size > 0)
		memcpy(inside, data, size);
	ASSERT(EVP_Digest(inside, size, sum, NULL, EVP_sha256(), NULL) == 1);
	memcpy(inside + size, sum, 4);
	size_t n = base64_encode(inside, size + 4, text + prefix);
	for (size_t i = prefix; i < prefix + n; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	while (n > 0 && text[prefix + n - 1] == '=')
		n--;
	try_parse((struct str) { text, prefix + n });
	return 0;
}
