/* SPDX-License-Identifier: Apache-2.0
 * What the command lines of the sink, the generator and the attacker share.
 */
#include "tests/bench/arguments.h"

#include <stdio.h>
#include <stdlib.h>

void argument_refuse(const char *option, const char *value)
{
	fprintf(stderr, "%s: bad value for --%s: %s\n%s", argument_program, option, value, argument_usage);
	exit(2);
}

unsigned long argument_number(const char *option, const char *value, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*end != '\0' || end == value || n < min || n > max)
		argument_refuse(option, value);
	return n;
}

void argument_help(void)
{
	fputs(argument_usage, stdout);
	exit(0);
}

void argument_unknown(void)
{
	fputs(argument_usage, stderr);
	exit(2);
}
