/* SPDX-License-Identifier: Apache-2.0
 * Help, shell completion and the manual page, all made from the tables of commands and options.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#define MANUAL_DATE "November 21, 2026"

/* ---- help ---- */

static void print_command_line(const struct command *k)
{
	char left[64];

	snprintf(left, sizeof(left), "%s %s", k->words, k->args);
	printf("  %-32s %s\n", left, k->summary);
}

static void print_option(enum option o)
{
	const struct option_def *d = &option_defs[o];
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", d->name, d->arg != NULL ? " " : "", d->arg != NULL ? d->arg : "");
	printf("  %-32s %s\n", left, d->help);
}

static void print_examples(const struct command *k)
{
	char *copy = xstrdup(k->examples), *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		printf("  %s\n", line);
	free(copy);
}

void help_overview(void)
{
	puts("Examples:\n"
	     "  postroad status  # is this node healthy\n"
	     "  postroad server drain mta/mta1 --wait  # before a server's maintenance\n"
	     "  postroad config apply --dry-run site.json  # what would change\n"
	     "  postroad explain --listener relay --from a@example.com b@example.org  # where would it go\n"
	     "\nCommands:");
	for (size_t i = 0; i < cli_command_count; i++)
		print_command_line(&cli_commands[i]);
	puts("\nOptions of every command:");
	for (unsigned o = 0; o < OPT_GLOBAL_COUNT; o++)
		print_option(o);
	puts("  --version                        the version\n"
	     "\nExit codes: 0 done, 1 it failed, 2 usage or a configuration that does not validate, 3 not healthy "
	     "(status).\n"
	     "`postroad help COMMAND` and `postroad COMMAND --help` show more.");
}

void help_command(const struct command *k)
{
	puts("Examples:");
	print_examples(k);
	printf("\nUsage: postroad %s%s%s [options]\n  %s\n", k->words, *k->args ? " " : "", k->args, k->summary);
	if (k->text != NULL)
		printf("\n%s\n", k->text);
	if (k->options != 0)
		puts("\nOptions:");
	for (unsigned o = OPT_GLOBAL_COUNT; o < OPT_COUNT; o++)
		if (k->options & (UINT64_C(1) << o))
			print_option(o);
	puts("\nOptions of every command:");
	for (unsigned o = 0; o < OPT_GLOBAL_COUNT; o++)
		print_option(o);
}

static bool is_in_group(const struct command *k, const char *word)
{
	size_t n = strlen(word);

	return strncmp(k->words, word, n) == 0 && k->words[n] == ' ';
}

bool help_group(const char *word)
{
	bool is_found = false;

	for (size_t i = 0; i < cli_command_count; i++) {
		if (!is_in_group(&cli_commands[i], word))
			continue;
		print_command_line(&cli_commands[i]);
		is_found = true;
	}
	return is_found;
}

/* ---- did you mean ---- */

const char *help_nearest(const char *first, const char *second)
{
	unsigned best = UINT32_MAX;
	const char *found = NULL;

	for (size_t i = 0; i < cli_command_count; i++) {
		const char *words = cli_commands[i].words, *space = strchr(words, ' ');
		char head[32];
		snprintf(head, sizeof(head), "%.*s", space != NULL ? (int)(space - words) : 31, words);
		unsigned near = (unsigned)strlen(first) / 3 + 2, d = str_distance(first, head, near);
		if (d >= near)
			continue;
		/* "config aply": the group is right, the second word decides; "config" alone suggests its first
		 * command. */
		if (space != NULL && second != NULL)
			d = d * 2 + str_distance(second, space + 1, 16);
		if (d < best) {
			best = d;
			found = words;
		}
	}
	return found;
}

/* ---- completion ---- */

static void print_options_words(const struct command *k)
{
	for (unsigned o = 0; o < OPT_COUNT; o++)
		if (o < OPT_GLOBAL_COUNT || (k->options & (UINT64_C(1) << o)))
			printf(" --%s", option_defs[o].name);
}

static void print_second_words(const char *group, size_t n)
{
	for (size_t i = 0; i < cli_command_count; i++)
		if (strncmp(cli_commands[i].words, group, n) == 0 && cli_commands[i].words[n] == ' ')
			printf(" %s", cli_commands[i].words + n + 1);
}

/* Rows of one group stand together in the table: the first of each is the one whose predecessor has another first word.
 */
static bool is_first_of_group(size_t i, size_t *ret_n)
{
	const char *words = cli_commands[i].words;

	*ret_n = strcspn(words, " ");
	return i == 0 || strncmp(cli_commands[i - 1].words, words, *ret_n) != 0 ||
	       cli_commands[i - 1].words[*ret_n] != ' ';
}

static void completion_bash(void)
{
	size_t n;

	puts("# bash completion for postroad; made by `postroad completion bash`\n"
	     "_postroad() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\"\" w i\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tw=${COMP_WORDS[i]}\n"
	     "\t\tcase $w in");
	printf("\t\t");
	for (unsigned o = 0; o < OPT_COUNT; o++)
		if (option_defs[o].arg != NULL)
			printf("%s--%s", o > 0 ? "|" : "", option_defs[o].name);
	puts(") ((i++)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) words+=\"${words:+ }$w\" ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tcase $prev in\n"
	     "\t--socket|--token-file|--ca-file) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	     "\t--role) COMPREPLY=($(compgen -W \"viewer operator admin\" -- \"$cur\")); return ;;\n"
	     "\tesac\n"
	     "\tcase $words in");
	printf("\t\"\") w=\"");
	for (size_t i = 0; i < cli_command_count; i++)
		if (is_first_of_group(i, &n))
			printf("%.*s ", (int)n, cli_commands[i].words);
	puts("--help --version\" ;;\n\tcompletion) w=\"bash zsh\" ;;");
	for (size_t i = 0; i < cli_command_count; i++) {
		if (!is_first_of_group(i, &n) || cli_commands[i].words[n] == '\0')
			continue;
		printf("\t%.*s) w=\"", (int)n, cli_commands[i].words);
		print_second_words(cli_commands[i].words, n);
		puts("\" ;;");
	}
	for (size_t i = 0; i < cli_command_count; i++) {
		printf("\t\"%s\"*) w=\"", cli_commands[i].words);
		print_options_words(&cli_commands[i]);
		puts("\" ;;");
	}
	puts("\t*) w=\"\" ;;\n"
	     "\tesac\n"
	     "\tCOMPREPLY=($(compgen -W \"$w\" -- \"$cur\"))\n"
	     "\t[[ ${#COMPREPLY[@]} -gt 0 || $cur == -* ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
	     "}\n"
	     "complete -F _postroad postroad");
}

int cmd_completion(struct cli *c)
{
	if (strcmp(c->args[0], "zsh") == 0)
		puts("#compdef postroad\nautoload -U +X bashcompinit && bashcompinit");
	else if (strcmp(c->args[0], "bash") != 0) {
		cli_error("no completion for \"%s\"; there is one for bash and zsh", c->args[0]);
		return EXIT_USAGE;
	}
	completion_bash();
	return EXIT_DONE;
}

/* ---- the manual page ---- */

/* Text for mdoc: backslashes and a leading dot or quote would be requests. */
static void put_roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else
			putchar(*s);
	}
}

static void mdoc_option(enum option o)
{
	const struct option_def *d = &option_defs[o];

	printf(".It Fl \\-%s%s%s\n", d->name, d->arg != NULL ? " Ar " : "", d->arg != NULL ? d->arg : "");
	put_roff(d->help);
	putchar('\n');
}

static void mdoc_command(const struct command *k)
{
	char *copy = xstrdup(k->examples), *save = NULL;

	printf(".It Cm %s%s%s\n", k->words, *k->args ? " Ar " : "", k->args);
	put_roff(k->summary);
	puts(".");
	if (k->text != NULL) {
		put_roff(k->text);
		putchar('\n');
	}
	if (k->options != 0)
		printf("Takes");
	for (unsigned o = OPT_GLOBAL_COUNT, n = 0; o < OPT_COUNT; o++)
		if (k->options & (UINT64_C(1) << o))
			printf("%s\n.Fl \\-%s", n++ ? " ," : "", option_defs[o].name);
	if (k->options != 0)
		puts(" .");
	puts(".Bd -literal -offset indent");
	for (char *line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		put_roff(line);
		putchar('\n');
	}
	puts(".Ed");
	free(copy);
}

void help_mdoc(void)
{
	puts(".\\\" Made by `postroad --help-mdoc`.\n"
	     ".Dd " MANUAL_DATE "\n.Dt POSTROAD 1\n.Os\n.Sh NAME\n.Nm postroad\n.Nd administer an SMTP load balancer\n"
	     ".Sh SYNOPSIS\n.Nm\n.Op Ar options\n.Ar command\n.Op Ar arguments\n"
	     ".Sh DESCRIPTION\nThe\n.Nm\ncommand talks to a balancer node\\(cqs admin socket, or to its HTTPS address "
	     "with\n.Fl \\-url .\n"
	     "It prints tables for people and, with\n.Fl \\-json ,\nthe API\\(cqs answers for programs.\n"
	     "Secrets are read from files or standard input only.\n"
	     ".Sh COMMANDS\n.Bl -tag -width Ds");
	for (size_t i = 0; i < cli_command_count; i++)
		mdoc_command(&cli_commands[i]);
	puts(".El\n.Sh OPTIONS\nEvery command takes these:\n.Bl -tag -width Ds");
	for (unsigned o = 0; o < OPT_GLOBAL_COUNT; o++)
		mdoc_option(o);
	puts(".El\n.Pp\nOptions of some commands:\n.Bl -tag -width Ds");
	for (unsigned o = OPT_GLOBAL_COUNT; o < OPT_COUNT; o++)
		mdoc_option(o);
	puts(".El\n.Sh ENVIRONMENT\n.Bl -tag -width Ds\n.It Ev POSTROAD_SOCKET\nThe admin socket, where\n.Fl "
	     "\\-socket\nis not given.\n"
	     ".It Ev NO_COLOR\nNo colours, whatever the terminal.\n.It Ev VISUAL , Ev EDITOR\nThe editor of\n.Cm "
	     "config edit .\n.El\n"
	     ".Sh FILES\n.Bl -tag -width Ds\n.It Pa " CLI_SOCKET_DEFAULT "\nThe admin socket.\n"
	     "Root, the daemon\\(cqs user and the group\n.Dq postroad\nare administrators there.\n.El\n"
	     ".Sh EXIT STATUS\n.Bl -tag -width Ds\n.It 0\nDone.\n.It 1\nIt failed.\n"
	     ".It 2\nUsage, or a configuration that does not validate.\nEvery error is printed on a line of its own.\n"
	     ".It 3\nThe node or the cluster is not healthy\n.Pq Cm status .\n.El\n"
	     ".Sh SEE ALSO\n.Xr postroadd 8");
}
