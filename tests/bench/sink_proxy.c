/* SPDX-License-Identifier: Apache-2.0
 * The PROXY protocol as a server reads it, written for the sink alone: the balancer's own writer is judged with it.
 *
 * The header comes before anything else and has no end mark of its own in version 2: its length must be taken from it,
 * and what stands behind is SMTP already. (PROXY protocol specification, 2.1 and 2.2)
 */
#include "tests/bench/sink.h"

#include <arpa/inet.h>
#include <stdio.h>

#define V1_MAX 107 /* with its CRLF */
#define V2_FIXED 16

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static ssize_t read_v2(const char *p, size_t n, char client[ADDR_TEXT_MAX])
{
	const unsigned char *u = (const unsigned char *)p;

	if (n < V2_FIXED)
		return 0;
	size_t length = (size_t)u[14] << 8 | u[15];
	bool inet = u[13] >> 4 == 1, inet6 = u[13] >> 4 == 2;

	/* version 2, LOCAL or PROXY; and room for the two addresses with their ports */
	if (u[12] >> 4 != 2 || (u[12] & 15) > 1 || (inet && length < 12) || (inet6 && length < 36))
		return -1;
	if (n < V2_FIXED + length)
		return 0;
	client[0] = '\0';
	if ((u[12] & 15) == 1 && (inet || inet6))
		inet_ntop(inet ? AF_INET : AF_INET6, p + V2_FIXED, client, ADDR_TEXT_MAX);
	return (ssize_t)(V2_FIXED + length);
}

/* "PROXY TCP4 source destination port port\r\n", or "PROXY UNKNOWN …\r\n" */
static ssize_t read_v1(const char *p, size_t n, char client[ADDR_TEXT_MAX])
{
	const char *lf = memchr(p, '\n', n < V1_MAX ? n : V1_MAX);
	char line[V1_MAX + 1], family[8], source[48], rest[48];
	unsigned from, to;

	if (lf == NULL)
		return n < V1_MAX ? 0 : -1;
	size_t length = (size_t)(lf - p) + 1;

	memcpy(line, p, length);
	line[length] = '\0';
	client[0] = '\0';
	if (strncmp(line, "PROXY UNKNOWN", 13) == 0)
		return (ssize_t)length;
	if (sscanf(line, "PROXY %7s %47s %47s %u %u\r\n", family, source, rest, &from, &to) != 5 || lf[-1] != '\r')
		return -1;
	snprintf(client, ADDR_TEXT_MAX, "%s", source);
	return (ssize_t)length;
}

ssize_t sink_proxy(const char *p, size_t n, char client[ADDR_TEXT_MAX])
{
	static const char word[6] = "PROXY ";

	if (memcmp(p, signature, n < sizeof(signature) ? n : sizeof(signature)) == 0)
		return n < sizeof(signature) ? 0 : read_v2(p, n, client);
	if (memcmp(p, word, n < sizeof(word) ? n : sizeof(word)) == 0)
		return n < sizeof(word) ? 0 : read_v1(p, n, client);
	return -1;
}
