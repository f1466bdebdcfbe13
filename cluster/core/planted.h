/* SPDX-License-Identifier: Apache-2.0
 * Bugs for the simulator to find: the test of the test. Without CORE_PLANTED, which only the simulator's own build of
 * this room sets, PLANTED() is false and no such code is built.
 */
#ifndef POSTROAD_CLUSTER_CORE_PLANTED_H
#define POSTROAD_CLUSTER_CORE_PLANTED_H

enum core_plant {
	PLANT_NONE,
	PLANT_ACK_BEFORE_ADOPTION, /* a suffix is acknowledged before it is durable together with its epoch */
	PLANT_PROMISE_UNPERSISTED, /* a promise is reported that is not on stable storage */
	PLANT_STALE_VIEW,          /* messages of an earlier view are taken for this one's */
	PLANT_DAMAGED_VOTES,       /* a store that lost its end votes */
	PLANT_BOTH_HALVES,         /* each of two voters is a quorum */
	PLANT_SAME_GENERATION,     /* two forced quorums that did not hear of each other have one number */
	PLANT_COUNT
};

#ifdef CORE_PLANTED
extern enum core_plant core_planted;
#define PLANTED(plant) (core_planted == (plant))
#else
#define PLANTED(plant) false
#endif

#endif
