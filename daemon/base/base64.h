/* SPDX-License-Identifier: Apache-2.0
 * Base64 (RFC 4648 4), strict: no line breaks, padding demanded, unused bits zero, so that a value has one spelling.
 */
#ifndef POSTROAD_BASE_BASE64_H
#define POSTROAD_BASE_BASE64_H

#include "daemon/base/str.h"

/* Characters of n bytes encoded, without a NUL. */
#define BASE64_LEN(n) (((size_t)(n) + 2) / 3 * 4)

/* Writes BASE64_LEN(n) characters and a NUL to out; returns the number of characters. */
size_t base64_encode(const void *p, size_t n, char *out);
/* Decodes into out[max]. False = not base64 in the strict sense, or longer than max; what out holds then is undefined.
 */
bool base64_decode(struct str text, void *out, size_t max, size_t *ret_n) MUST_CHECK;

#endif
