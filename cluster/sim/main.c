/* SPDX-License-Identifier: Apache-2.0
 * Runs schedules: `[--plant NAME] [--seed N] [--seeds N] [--nodes N] [--safety] [--trace]`. Ends with 1 at the first
 * seed that fails and prints the line that replays it. --safety: a cluster that does not come to rest is no failure.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

enum core_plant core_planted = PLANT_NONE;

static const char *const plant_names[PLANT_COUNT] = { "none",           "ack-before-adoption", "promise-unpersisted",
						      "stale-view",     "damaged-votes",       "both-halves",
						      "same-generation" };

static enum core_plant plant_of(const char *name)
{
	for (int i = 0; i < PLANT_COUNT; i++)
		if (strcmp(name, plant_names[i]) == 0)
			return (enum core_plant)i;
	fprintf(stderr, "sim: no such bug: %s\n", name);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "sim: not a number: %s\n", text);
		exit(2);
	}
	return n;
}

static const char *const fault_names[SIM_FAULTS] = {
	[FAULT_SPLIT] = "splits",
	[FAULT_DISCONNECT] = "disconnected",
	[FAULT_CRASH] = "crashes",
	[FAULT_POWER] = "power cuts",
	[FAULT_LOST_WRITE] = "lost writes",
	[FAULT_PAUSE] = "pauses",
	[FAULT_ONE_WAY] = "one-way losses",
	[FAULT_DAMAGE] = "damaged disks",
	[FAULT_NEW_DISK] = "new disks",
	[FAULT_OLD_DISK] = "old disks",
	[FAULT_LOST_MESSAGE] = "lost messages",
	[FAULT_FULL_DISK] = "full disks",
	[FAULT_BROKEN_DISK] = "broken disks",
	[FAULT_SLOW_DISK] = "slow disks",
	[FAULT_COMPACTION] = "compactions",
	[FAULT_CHANGED_SIDES] = "changes of sides",
	[FAULT_NEXT_VIEW] = "in the next view",
	[FAULT_TABLE] = "tables",
	[FAULT_TIE_BREAKER] = "tie-breakers",
	[FAULT_FORCED] = "forced quorums",
	[FAULT_FORCED_TWICE] = "several forced",
};

static void print_counts(const struct sim *counts)
{
	for (int i = 0; i < SIM_FAULTS; i++)
		printf("%s%s %llu", i == 0 ? "struck: " : ", ", fault_names[i],
		       (unsigned long long)counts->by_fault[i]);
	printf("\nnodes:");
	for (int n = 0; n <= SIM_NODES_MAX; n++)
		if (counts->sizes >> n & 1)
			printf(" %d", n);
	printf("\n");
}

static char **arguments;
static uint64_t running; /* the seed */
static size_t nodes;

static void print_replay(void)
{
	printf("replay: %s --plant %s --nodes %zu --seed %llu --trace\n", arguments[0], plant_names[core_planted],
	       nodes, (unsigned long long)running);
}

/* An assertion of the core that fails is a find like any other. There is nobody whose output this could disturb. */
static void on_abort(int signal_number)
{
	UNUSED(signal_number);
	print_replay();
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct sim counts;
	uint64_t first = 1, n = 10000;
	bool trace = false, safety = false, many = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--trace") == 0)
			trace = true;
		else if (strcmp(argv[i], "--safety") == 0)
			safety = true;
		else if (strcmp(argv[i], "--plant") == 0)
			core_planted = plant_of(value), i++;
		else if (strcmp(argv[i], "--seed") == 0)
			first = number(value), n = many ? n : 1, i++;
		else if (strcmp(argv[i], "--nodes") == 0)
			counts.n = number(value) % (SIM_NODES_MAX + 1), i++;
		else if (strcmp(argv[i], "--seeds") == 0)
			n = number(value), many = true, i++;
		else
			return fprintf(stderr, "sim: unknown option: %s\n", argv[i]), 2;
	}
	arguments = argv;
	nodes = counts.n;
	signal(SIGABRT, on_abort);
	for (uint64_t seed = first; seed < first + n; seed++) {
		running = seed;
		char *failed = sim_run(seed, trace, &counts);
		if (failed != NULL && !(safety && strncmp(failed, "not quiet", 9) == 0)) {
			printf("seed %llu: %s\n", (unsigned long long)seed, failed);
			print_replay();
			free(failed);
			return 1;
		}
		free(failed);
	}
	printf("%llu schedules held: %llu inputs, %llu views, %llu faults, %zu writes asked, %llu committed\n",
	       (unsigned long long)n, (unsigned long long)counts.inputs, (unsigned long long)counts.view_changes,
	       (unsigned long long)counts.faults, counts.n_ops, (unsigned long long)counts.highest);
	print_counts(&counts);
	return 0;
}
