/* SPDX-License-Identifier: Apache-2.0
 * What the command lines of the sink, the generator and the attacker share.
 */
#ifndef POSTROAD_TESTS_BENCH_ARGUMENTS_H
#define POSTROAD_TESTS_BENCH_ARGUMENTS_H

/* Each program defines these: its name, and what --help prints. */
extern const char argument_program[], argument_usage[];

/* Says on standard error which option has a value that cannot be, and the usage; exits with 2. */
_Noreturn void argument_refuse(const char *option, const char *value);
/* The decimal number, within the bounds; or argument_refuse(). */
unsigned long argument_number(const char *option, const char *value, unsigned long min, unsigned long max);
/* The usage on standard output, exits with 0; on standard error after an unknown option, with 2. */
_Noreturn void argument_help(void);
_Noreturn void argument_unknown(void);

#endif
