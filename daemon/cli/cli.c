/* SPDX-License-Identifier: Apache-2.0
 * postroad(1): the table of commands, and the way from words to a handler.
 *
 * The table is the only description of the command line: dispatch, help, completion and the manual page are made from
 * it, so none of them can lag behind.
 */
#include "daemon/cli/cli.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MANY CLI_ARGS_MAX

const struct command cli_commands[] = {
	{ "status", "", 0, 0, 0, "is this node healthy, and what is it doing",
	  "postroad status  # tables for people; exit code 3 when something is wrong\n"
	  "postroad status --json  # the same for programs",
	  "Exits with 3 when the node should not receive mail: a listener is closed, a pool has no usable server, the "
	  "node is "
	  "draining or the cluster has no quorum.",
	  cmd_status },
	{ "top", "", 0, 0, OPT(COUNT_LINES) | OPT(INTERVAL), "traffic and servers, refreshed",
	  "postroad top  # until Ctrl-C\n"
	  "postroad top --count 1  # once, for a script",
	  NULL, cmd_top },
	{ "config get", "[SECTION [NAME]]", 0, 2, OPT(EFFECTIVE) | OPT(WITH_SECRETS),
	  "print the configuration or a part of it",
	  "postroad config get > site.json  # the whole document\n"
	  "postroad config get pools mta  # one object\n"
	  "postroad config get --effective  # with every default filled in\n"
	  "postroad config get --with-secrets > backup.json  # as root, for a backup",
	  NULL, cmd_config_get },
	{ "config apply", "FILE", 1, 1, OPT(DRY_RUN) | OPT(YES), "make a file the configuration (- = standard input)",
	  "postroad config apply site.json  # says what changed, or that nothing did\n"
	  "postroad config apply --dry-run site.json  # only says what would change\n"
	  "generate-config | postroad config apply -",
	  "Applying the same file again changes nothing and says so. A change that somebody else made between reading "
	  "and writing is "
	  "never overwritten. Where the file says \"<secret>\" the stored secret is kept. It asks before a file that "
	  "knows no "
	  "users, or no tokens, removes all that there are.",
	  cmd_config_apply },
	{ "config edit", "", 0, 0, OPT(YES), "edit the configuration in $EDITOR",
	  "postroad config edit\n"
	  "EDITOR=nano postroad config edit",
	  "A document that does not validate is opened again, with every error printed. What was rejected in the end "
	  "stays in a file.",
	  cmd_config_edit },
	{ "config diff", "FILE|REVISION", 1, 1, 0, "what applying a file or an old revision would change",
	  "postroad config diff site.json\n"
	  "postroad config diff 41  # what a rollback to revision 41 would change",
	  NULL, cmd_config_diff },
	{ "config history", "", 0, 0, 0, "the revisions: who, when, where",
	  "postroad config history\n"
	  "postroad config history --json",
	  NULL, cmd_config_history },
	{ "config rollback", "REVISION", 1, 1, OPT(DRY_RUN) | OPT(YES), "make an old revision the configuration again",
	  "postroad config rollback 41\n"
	  "postroad config rollback 41 --dry-run  # what it would change",
	  "The old document becomes a new revision. States and weights set at run time, and tokens, are untouched.",
	  cmd_config_rollback },
	{ "config check", "FILE", 1, 1, 0, "does a file validate (- = standard input)",
	  "postroad config check site.json  # exit code 2 and every error when it does not", NULL, cmd_config_check },
	{ "server list", "[POOL]", 0, 1, 0, "pools, their servers and how they are",
	  "postroad server list\n"
	  "postroad server list mta --json",
	  NULL, cmd_server_list },
	{ "server drain", "POOL/SERVER", 1, 1, OPT(DRY_RUN) | OPT(LOCAL) | OPT(WAIT),
	  "let a server finish and give it nothing new",
	  "postroad server drain mta/mta1\n"
	  "postroad server drain mta/mta1 --wait --timeout 600  # return when it is idle",
	  "The state is replicated and survives restarts, until `server ready`.", cmd_server_state },
	{ "server ready", "POOL/SERVER", 1, 1, OPT(DRY_RUN) | OPT(LOCAL), "give a server work again",
	  "postroad server ready mta/mta1", NULL, cmd_server_state },
	{ "server maint", "POOL/SERVER", 1, 1, OPT(DRY_RUN) | OPT(LOCAL) | OPT(WAIT),
	  "drain a server and stop checking it", "postroad server maint mta/mta1", NULL, cmd_server_state },
	{ "server weight", "POOL/SERVER WEIGHT", 2, 2, OPT(DRY_RUN) | OPT(LOCAL), "override a server's weight",
	  "postroad server weight mta/mta1 10\n"
	  "postroad server weight mta/mta1 default  # what the configuration says",
	  NULL, cmd_server_weight },
	{ "node list", "", 0, 0, 0, "the balancers, and which are safe to stop", "postroad node list", NULL,
	  cmd_node_list },
	{ "node drain", "NODE", 1, 1, OPT(DRY_RUN) | OPT(YES) | OPT(WAIT) | OPT(FORCE),
	  "move a balancer's virtual addresses away, then end its sessions at transaction edges",
	  "postroad node drain n1  # before stopping it\n"
	  "postroad node drain n1 --yes --wait --timeout 600  # return when it is safe to stop it",
	  "The addresses leave with their open connections, which go on here until they end. The last node that is "
	  "ready "
	  "is drained with --force only.",
	  cmd_node_state },
	{ "node ready", "NODE", 1, 1, OPT(DRY_RUN) | OPT(YES), "let a balancer receive mail again",
	  "postroad node ready n1", NULL, cmd_node_state },
	{ "vip list", "", 0, 0, 0, "the virtual addresses: who has what, since when, why",
	  "postroad vip list\n"
	  "postroad vip list --json  # with what each node says of each",
	  "Below stands, for each node that may not have one now, what that node says of it.", cmd_vip_list },
	{ "vip move", "VIP NODE", 2, 2, OPT(DRY_RUN), "move a virtual address to another node, with its connections",
	  "postroad vip move out-a n2\n"
	  "postroad vip move out-a n2 --dry-run  # whether it could",
	  "Open connections go on at the old node until they end; new ones are the new node's. The node is the "
	  "preferred "
	  "one from then on, until a rebalance or another move.",
	  cmd_vip_move },
	{ "vip rebalance", "", 0, 0, OPT(DRY_RUN), "move all virtual addresses to where they belong",
	  "postroad vip rebalance  # after an upgrade, node by node\n"
	  "postroad vip rebalance --dry-run",
	  "An address belongs to the first node in its order that could have it.", cmd_vip_rebalance },
	{ "session list", "", 0, 0, OPT(LIMIT), "who is connected, and what they are doing",
	  "postroad session list\n"
	  "postroad session list --limit 1000 --json",
	  NULL, cmd_session_list },
	{ "session kill", "ID...", 1, MANY, OPT(DRY_RUN) | OPT(YES), "end sessions at once",
	  "postroad session kill n1-4f2a", "The client gets 421 and the connection is closed, whatever it was doing.",
	  cmd_session_kill },
	{ "session trace", "ID", 1, 1, 0, "the dialogue of a session as it goes",
	  "postroad session trace n1-4f2a  # until the session ends or Ctrl-C",
	  "Behind the time stands whose line it is: `client >` came from the client, `client <` went to it; `backend "
	  ">` "
	  "came from the server, `backend <` went to it; `*` is what the balancer decided. Secrets are masked; of "
	  "message bodies only the size is shown.",
	  cmd_session_trace },
	{ "explain", "RECIPIENT...", 1, MANY,
	  OPT(LISTENER) | OPT(CLIENT) | OPT(HELO) | OPT(USER) | OPT(CLIENT_CERTIFICATE) | OPT(FROM) | OPT(SIZE),
	  "where a message would go, and why",
	  "postroad explain --listener relay --client 10.1.2.3 --from a@example.com b@example.org\n"
	  "postroad explain --listener relay --from '<>' postmaster@example.org  # a bounce",
	  "The answer comes from the code that routes mail. Nothing is sent. Without --client it is for one at "
	  "127.0.0.1, whom `allow` may "
	  "refuse.",
	  cmd_explain },
	{ "events", "", 0, 0, OPT(AFTER) | OPT(COUNT_LINES), "what happens, as it happens",
	  "postroad events  # until Ctrl-C\n"
	  "postroad events --json --after 1042  # resume, one JSON object a line",
	  NULL, cmd_events },
	{ "token create", "NAME", 1, 1, OPT(ROLE) | OPT(EXPIRES) | OPT(DRY_RUN),
	  "make a token for the API and print it once",
	  "postroad token create ci --role operator > ci.token\n"
	  "postroad token create audit --role viewer --expires 2027-01-01T00:00:00Z",
	  "Only the token's SHA-256 is stored: what is printed cannot be shown again.", cmd_token_create },
	{ "token revoke", "NAME", 1, 1, OPT(DRY_RUN) | OPT(YES), "end a token", "postroad token revoke ci", NULL,
	  cmd_token_revoke },
	{ "token list", "", 0, 0, 0, "the tokens and their roles", "postroad token list", NULL, cmd_token_list },
	{ "user add", "NAME", 1, 1, OPT(PASSWORD_FILE) | OPT(DRY_RUN) | OPT(YES),
	  "let a user log in to send mail, or change the password",
	  "postroad user add app1  # asks for the password\n"
	  "postroad user add app1 --password-file app1.password\n"
	  "pwgen -s 32 1 | tee app1.password | postroad user add app1",
	  "The password stays on this machine: a yescrypt hash and a SCRAM-SHA-256 verifier are made of it and stored. "
	  "A "
	  "user "
	  "who exists keeps everything else.",
	  cmd_user_add },
	{ "user remove", "NAME", 1, 1, OPT(DRY_RUN) | OPT(YES), "end a user's access", "postroad user remove app1",
	  "Sessions that have logged in under that name finish the message at hand and are ended with 421.",
	  cmd_user_remove },
	{ "user list", "", 0, 0, 0, "the users, and which verifiers are stored of them", "postroad user list", NULL,
	  cmd_user_list },
	{ "cluster init", "", 0, 0, OPT(LINK) | OPT(NAME) | OPT(LISTEN) | OPT(FORCE),
	  "make this node the first of a cluster",
	  "postroad cluster init --link 10.0.0.11  # on the machine itself, as root\n"
	  "postroad cluster init --link 10.0.0.11 --link 10.1.0.11 --name mx  # two networks between the nodes",
	  "Makes keys and certificates, writes the node file's cluster section and starts corosync. Mail goes on "
	  "meanwhile; configuration and state stay.",
	  cmd_cluster_init },
	{ "cluster token", "", 0, 0, OPT(VOTER_ONLY) | OPT(REPLACE) | OPT(TTL) | OPT(OUT), "let one node join, once",
	  "postroad cluster token --out token  # carry it to the new node, and keep it secret\n"
	  "postroad cluster token --voter-only | ssh n3 postroad cluster join --voter-only --token-file - --link "
	  "10.0.0.13",
	  "Only a verifier of it is stored: what is printed cannot be shown again.", cmd_cluster_token },
	{ "cluster tokens", "", 0, 0, 0, "the join tokens that were not used, and when they end",
	  "postroad cluster tokens", NULL, cmd_cluster_tokens },
	{ "cluster revoke", "ID", 1, 1, 0, "end a join token that was not used",
	  "postroad cluster revoke 5f0c9a1b2c3d4e5f  # as `postroad cluster tokens` names it", NULL,
	  cmd_cluster_revoke },
	{ "cluster join", "", 0, 0, OPT(LINK) | OPT(LISTEN) | OPT(VOTER_ONLY) | OPT(FORCE) | OPT(TOKEN_FILE),
	  "make this node a member of a cluster",
	  "postroad cluster join --token-file token --link 10.0.0.12  # on the machine itself, as root",
	  "Its own configuration and state are given up for the cluster's. Returns when the node votes, or "
	  "when the join was given up, as after two minutes without the node.",
	  cmd_cluster_join },
	{ "cluster leave", "", 0, 0, OPT(YES) | OPT(FORCE), "take this node out of its cluster",
	  "postroad node drain n3 --wait && postroad cluster leave --yes",
	  "Refused while the node has a VIP, as connections to it would be cut; --force leaves all the same. It "
	  "keeps its configuration, without the VIPs. The only node of a cluster ends it by this: as after an `init` "
	  "with a wrong address.",
	  cmd_cluster_leave },
	{ "cluster remove", "NODE", 1, 1, OPT(YES) | OPT(FORCE), "take a node out that may be away",
	  "postroad cluster remove n3\n"
	  "postroad cluster remove n3 --force  # while yet another node is away",
	  "Its vote ends at once, and with a new key it cannot listen any more. It is told when it comes back, and "
	  "forgets its keys.",
	  cmd_cluster_remove },
	{ "cluster replace", "NODE", 1, 1, OPT(VOTER_ONLY) | OPT(TTL) | OPT(OUT),
	  "let a new machine take a lost one's place",
	  "postroad cluster replace n3 | ssh new-n3 postroad cluster join --token-file - --link 10.0.0.13",
	  "Prints a token for a node of the same name. The lost one must be off: it is removed when the new one joins.",
	  cmd_cluster_replace },
	{ "cluster cancel", "", 0, 0, 0, "give up a join or a rotation of keys that is under way",
	  "postroad cluster cancel", NULL, cmd_cluster_cancel },
	{ "cluster force-quorum", "", 0, 0, OPT(YES), "decide with the nodes that are left",
	  "postroad cluster force-quorum  # when most of the nodes are lost for good",
	  "Only when the others are off for certain: two halves that both decide have two configurations, and one of "
	  "them is thrown away.",
	  cmd_cluster_force_quorum },
	{ "cluster rotate-keys", "", 0, 0, 0, "a new key for what the nodes say to each other",
	  "postroad cluster rotate-keys", NULL, cmd_cluster_rotate_keys },
	{ "cluster status", "", 0, 0, 0, "the members, who is here, what is under way",
	  "postroad cluster status  # exit code 3 without quorum\n"
	  "postroad cluster status --json",
	  NULL, cmd_cluster_status },
	{ "cluster backup", "FILE", 1, 1, OPT(PASSPHRASE_FILE),
	  "keep configuration, secrets and run-time state in a file",
	  "postroad cluster backup site.backup  # as root; asks for a passphrase\n"
	  "postroad cluster backup --passphrase-file /root/backup.pass /srv/backup/postroad-$(date +%F)",
	  "The file is encrypted under the passphrase, which does not leave this command: without it nobody can read "
	  "the "
	  "file, "
	  "you included. One node's backup is the whole cluster's. It names the nodes of the cluster and holds none of "
	  "its "
	  "keys: they are made anew.",
	  cmd_cluster_backup },
	{ "cluster restore", "FILE", 1, 1, OPT(PASSPHRASE_FILE) | OPT(DRY_RUN) | OPT(YES),
	  "make a backup the configuration and run-time state of a fresh node",
	  "postroad cluster restore --dry-run site.backup  # what is inside; asks no node\n"
	  "postroad cluster restore --passphrase-file /root/backup.pass site.backup",
	  "For when all nodes are gone. The file is read to its end and checked before the node is asked, and the node "
	  "takes all of "
	  "it or nothing. It must be in no cluster and have no configuration of its own. Afterwards `postroad cluster "
	  "init` begins a new cluster, which the other nodes join with new tokens. Where one node is left, restore "
	  "nothing: `postroad cluster force-quorum` on it.",
	  cmd_cluster_restore },
	{ "completion", "SHELL", 1, 1, 0, "print a completion script for bash or zsh",
	  "postroad completion bash > /etc/bash_completion.d/postroad\n"
	  "source <(postroad completion zsh)",
	  NULL, cmd_completion },
};
const size_t cli_command_count = ARRAY_LEN(cli_commands);

/* ---- dispatch ---- */

/* The command named by the first one or two arguments; they are taken away. */
static const struct command *take_words(struct cli *c)
{
	char two[64];

	if (c->n_args == 0)
		return NULL;
	snprintf(two, sizeof(two), "%s %s", c->args[0], c->n_args > 1 ? c->args[1] : "");
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct command *k = &cli_commands[i];
		unsigned n = strchr(k->words, ' ') != NULL ? 2 : 1;
		if (strcmp(k->words, n == 2 ? two : c->args[0]) != 0)
			continue;
		c->n_args -= n;
		memmove(c->args, c->args + n, c->n_args * sizeof(*c->args));
		return k;
	}
	return NULL;
}

static int no_such_command(const struct cli *c)
{
	const char *second = c->n_args > 1 ? c->args[1] : NULL, *near = help_nearest(c->args[0], second);

	if (second == NULL && help_group(c->args[0]))
		return cli_has(c, OPT_HELP) ? EXIT_DONE : EXIT_USAGE;
	cli_error("no command \"%s%s%s\"", c->args[0], second != NULL ? " " : "", second != NULL ? second : "");
	if (near != NULL)
		fprintf(stderr, "did you mean: postroad %s\n", near);
	else
		fprintf(stderr, "postroad --help lists them\n");
	return EXIT_USAGE;
}

/* "help server" is "server --help". */
static void take_help(struct cli *c)
{
	if (c->n_args == 0 || strcmp(c->args[0], "help") != 0)
		return;
	c->options[OPT_HELP] = "";
	memmove(c->args, c->args + 1, --c->n_args * sizeof(*c->args));
}

static int dispatch(struct cli *c)
{
	take_help(c);
	if (c->n_args == 0) {
		help_overview();
		return cli_has(c, OPT_HELP) ? EXIT_DONE : EXIT_USAGE;
	}
	c->command = take_words(c);
	if (c->command == NULL)
		return no_such_command(c);
	if (cli_has(c, OPT_HELP)) {
		help_command(c->command);
		return EXIT_DONE;
	}
	int rc = options_check(c);
	return rc != EXIT_DONE ? rc : c->command->run(c);
}

/* "--version" and "--help-mdoc" stand alone and are no options of any command. */
static bool ran_alone(int argc, char **argv)
{
	if (argc != 2)
		return false;
	if (strcmp(argv[1], "--version") == 0)
		puts("postroad " POSTROAD_VERSION);
	else if (strcmp(argv[1], "--help-mdoc") == 0)
		help_mdoc();
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	const char *no_color = getenv("NO_COLOR");

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	c.colour = isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0');
	if (ran_alone(argc, argv))
		return EXIT_DONE;
	int rc = options_parse(&c, argc, argv);
	if (rc == EXIT_DONE)
		rc = dispatch(&c);
	http_free(c.http);
	if (fflush(stdout) != 0 && rc == EXIT_DONE) {
		cli_error("standard output: write failed");
		rc = EXIT_FAILED;
	}
	return rc;
}
