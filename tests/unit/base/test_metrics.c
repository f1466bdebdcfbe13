/* SPDX-License-Identifier: Apache-2.0
 * Metrics: exact sums from many threads, both text formats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/metrics.h"

enum { N_THREADS = 4, N_ADDS = 20000 };

/* The rendered lines that hold `part`, joined. */
static char *lines_with(const char *part, bool openmetrics)
{
	struct sbuf all = { 0 }, found = { 0 };

	metrics_render(&all, openmetrics);
	for (char *save = NULL, *line = strtok_r(all.p, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, part) != NULL)
			sbuf_printf(&found, "%s\n", line);
	sbuf_fini(&all);
	return sbuf_steal(&found);
}

static void assert_lines(const char *part, bool openmetrics, const char *want)
{
	char *got = lines_with(part, openmetrics);

	assert_string_equal(got, want);
	free(got);
}

/* ---- sums ---- */

struct adder {
	series_id counter, histogram;
	pthread_barrier_t *start;
	int slot; /* -1 = a thread that never named itself */
};

static void *adder_main(void *arg)
{
	struct adder *a = arg;

	if (a->slot >= 0)
		metrics_thread((unsigned)a->slot);
	pthread_barrier_wait(a->start);
	for (int i = 0; i < N_ADDS; i++) {
		metrics_add(a->counter, 3);
		metrics_observe(a->histogram, 5000);
	}
	return NULL;
}

/* Two of the threads share no slot, two are nameless; the main thread creates series and renders meanwhile. */
static void sums_over_threads_are_exact(void **state)
{
	UNUSED(state);
	struct adder a[N_THREADS];
	pthread_t thread[N_THREADS];
	pthread_barrier_t start;
	series_id counter = metrics_series(METRIC_BYTES_TOTAL, (const char *const[]) { "sum", "in" });
	series_id histogram = metrics_series(METRIC_MESSAGE_BYTES, NULL);
	char name[32];

	pthread_barrier_init(&start, NULL, N_THREADS + 1);
	for (int i = 0; i < N_THREADS; i++) {
		a[i] = (struct adder) { counter, histogram, &start, i < 2 ? 5 + i : -1 };
		assert_int_equal(pthread_create(&thread[i], NULL, adder_main, &a[i]), 0);
	}
	pthread_barrier_wait(&start);
	for (int i = 0; i < 3000; i++) { /* more than two chunks */
		snprintf(name, sizeof(name), "l%d", i);
		assert_int_not_equal(metrics_series(METRIC_CONNECTIONS_LIMIT, (const char *const[]) { name }), 0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&start);
	assert_int_equal(metrics_value(counter), 3 * N_ADDS * N_THREADS);
	assert_int_equal(metrics_value(histogram), N_ADDS * N_THREADS);
	metrics_retire(counter);
	metrics_retire(histogram);
}

static void *add_late(void *arg)
{
	metrics_thread(9);
	metrics_add(*(series_id *)arg, 7);
	return NULL;
}

/* A thread that names itself when there are series already gets cells for all of them. */
static void a_thread_may_come_after_the_series(void **state)
{
	UNUSED(state);
	series_id id = metrics_series(METRIC_BYTES_TOTAL, (const char *const[]) { "late", "in" });
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, add_late, &id), 0);
	pthread_join(t, NULL);
	assert_int_equal(pthread_create(&t, NULL, add_late, &id), 0); /* the slot's next owner counts on */
	pthread_join(t, NULL);
	assert_int_equal(metrics_value(id), 14);
	metrics_retire(id);
}

/* ---- identity ---- */

static void same_labels_are_the_same_series(void **state)
{
	UNUSED(state);
	char pool[] = "p";
	series_id a = metrics_series(METRIC_SERVER_UP, (const char *const[]) { pool, "xy" });
	pool[0] = 'q'; /* values are copied */
	series_id b = metrics_series(METRIC_SERVER_UP, (const char *const[]) { "p", "xy" });
	series_id other = metrics_series(METRIC_SERVER_UP, (const char *const[]) { "px", "y" });

	assert_int_equal(a, b);
	assert_int_not_equal(a, other);
	assert_int_not_equal(a, metrics_series(METRIC_SERVER_WEIGHT, (const char *const[]) { "p", "xy" }));
	metrics_retire(a);
	metrics_retire(other);
}

static void series_zero_swallows_everything(void **state)
{
	UNUSED(state);
	metrics_add(0, 1);
	metrics_observe(0, 1);
	metrics_set(0, 1);
	metrics_read_with(0, NULL, NULL);
	metrics_retire(0);
	assert_int_equal(metrics_value(0), 0);
}

static void a_retired_series_is_not_rendered_until_it_is_created_again(void **state)
{
	UNUSED(state);
	const char *const values[] = { "l", "retire-me" };
	series_id id = metrics_series(METRIC_REJECTED_TOTAL, values);

	metrics_add(id, 2);
	metrics_retire(id);
	metrics_add(id, 1); /* a worker that has not heard of it yet */
	assert_lines("retire-me", false, "");
	assert_lines("postroad_rejected_total", false, "");
	assert_int_equal(metrics_series(METRIC_REJECTED_TOTAL, values), id);
	assert_lines("retire-me", false, "postroad_rejected_total{listener=\"l\",reason=\"retire-me\"} 3\n");
	metrics_retire(id);
}

/* ---- text ---- */

static void a_counter_loses_total_in_the_openmetrics_head_only(void **state)
{
	UNUSED(state);
	series_id id = metrics_series(METRIC_RESOLVER_FAILURES_TOTAL, NULL);

	metrics_add(id, 41);
	assert_lines("resolver_failures", false,
		     "# HELP postroad_resolver_failures_total Failed name look-ups.\n"
		     "# TYPE postroad_resolver_failures_total counter\n"
		     "postroad_resolver_failures_total 41\n");
	assert_lines("resolver_failures", true,
		     "# HELP postroad_resolver_failures Failed name look-ups.\n"
		     "# TYPE postroad_resolver_failures counter\n"
		     "postroad_resolver_failures_total 41\n");
	metrics_retire(id);
}

static void label_values_cannot_break_out_of_their_quotes(void **state)
{
	UNUSED(state);
	series_id id = metrics_series(METRIC_BUILD_INFO, (const char *const[]) { "a\"b\\c\nd" });

	metrics_set(id, 1);
	assert_lines("build_info{", false, "postroad_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n");
	metrics_retire(id);
}

static void a_histogram_is_cumulative_and_scaled(void **state)
{
	UNUSED(state);
	series_id id = metrics_series(METRIC_REPLY_SECONDS, (const char *const[]) { "p", "dot" });

	metrics_observe(id, 1000); /* exactly 0.001 s: belongs to that bucket */
	metrics_observe(id, 1001);
	metrics_observe(id, 700000000); /* beyond the last bound */
	assert_lines("le=\"0.001\"", false, "postroad_reply_seconds_bucket{pool=\"p\",stage=\"dot\",le=\"0.001\"} 1\n");
	assert_lines("le=\"0.0025\"", false,
		     "postroad_reply_seconds_bucket{pool=\"p\",stage=\"dot\",le=\"0.0025\"} 2\n");
	assert_lines("le=\"600\"", false, "postroad_reply_seconds_bucket{pool=\"p\",stage=\"dot\",le=\"600\"} 2\n");
	assert_lines("le=\"600.0\"", true, "postroad_reply_seconds_bucket{pool=\"p\",stage=\"dot\",le=\"600.0\"} 2\n");
	assert_lines("le=\"+Inf\"", false, "postroad_reply_seconds_bucket{pool=\"p\",stage=\"dot\",le=\"+Inf\"} 3\n");
	assert_lines("reply_seconds_sum", false, "postroad_reply_seconds_sum{pool=\"p\",stage=\"dot\"} 700.002001\n");
	assert_lines("reply_seconds_count", false, "postroad_reply_seconds_count{pool=\"p\",stage=\"dot\"} 3\n");
	assert_lines("# TYPE postroad_reply_seconds ", true, "# TYPE postroad_reply_seconds histogram\n");
	metrics_retire(id);
}

static void a_histogram_without_labels_has_le_alone(void **state)
{
	UNUSED(state);
	series_id id = metrics_series(METRIC_CLUSTER_COMMIT_SECONDS, NULL);

	metrics_observe(id, 2);
	assert_lines("commit_seconds_bucket{le=\"0.005\"}", false,
		     "postroad_cluster_commit_seconds_bucket{le=\"0.005\"} 1\n");
	assert_lines("commit_seconds_sum", false, "postroad_cluster_commit_seconds_sum 2e-06\n");
	metrics_retire(id);
}

static double read_number(void *arg)
{
	return *(double *)arg;
}

static void a_gauge_is_what_was_set_or_what_its_function_says(void **state)
{
	UNUSED(state);
	series_id set = metrics_series(METRIC_WORKER_LAG_SECONDS, (const char *const[]) { "7" });
	series_id asked = metrics_series(METRIC_CONNECTIONS, (const char *const[]) { "asked" });
	double now = 12.5;

	metrics_set(set, -1500);
	metrics_read_with(asked, read_number, &now);
	assert_lines("worker_lag_seconds{", false, "postroad_worker_lag_seconds{worker=\"7\"} -0.0015\n");
	assert_lines("\"asked\"", false, "postroad_connections{listener=\"asked\"} 12.5\n");
	now = 13;
	assert_lines("\"asked\"", true, "postroad_connections{listener=\"asked\"} 13\n");
	now = 2500; /* stored units, as when it is set */
	metrics_read_with(set, read_number, &now);
	assert_lines("worker_lag_seconds{", false, "postroad_worker_lag_seconds{worker=\"7\"} 0.0025\n");
	now = INFINITY;
	assert_lines("\"asked\"", false, "postroad_connections{listener=\"asked\"} +Inf\n");
	metrics_retire(set);
	metrics_retire(asked);
}

static double huge(void *arg)
{
	return *(const double *)arg;
}

static void numbers_are_written_whole_and_exact(void **state)
{
	UNUSED(state);
	static double value;
	static const struct {
		double value;
		const char *text;
	} gauges[] = { { 0, "0" },
		       { 1, "1" },
		       { -3, "-3" },
		       { 0.25, "0.25" },
		       { 999999999999999, "999999999999999" },
		       { 1e15, "1e+15" },
		       { HUGE_VAL, "+Inf" } };
	series_id counter = metrics_series(METRIC_BYTES_TOTAL, (const char *const[]) { "exact", "in" });
	series_id gauge = metrics_series(METRIC_CONNECTIONS, (const char *const[]) { "exact" });
	char want[100];

	metrics_add(counter, UINT64_MAX);
	assert_lines("side=\"exact\"", false,
		     "postroad_bytes_total{side=\"exact\",direction=\"in\"} 18446744073709551615\n");
	metrics_retire(counter);
	metrics_read_with(gauge, huge, &value);
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		value = gauges[i].value;
		snprintf(want, sizeof(want), "postroad_connections{listener=\"exact\"} %s\n", gauges[i].text);
		assert_lines("listener=\"exact\"", true, want);
	}
	metrics_retire(gauge);
}

static void each_family_has_one_head_and_openmetrics_ends_with_eof(void **state)
{
	UNUSED(state);
	series_id a = metrics_series(METRIC_POOL_QUEUE, (const char *const[]) { "a" });
	series_id b = metrics_series(METRIC_POOL_QUEUE, (const char *const[]) { "b" });
	struct sbuf text = { 0 };

	assert_lines("TYPE postroad_pool_queue", false, "# TYPE postroad_pool_queue gauge\n");
	metrics_render(&text, true);
	assert_string_equal(text.p + text.n - 6, "# EOF\n");
	sbuf_reset(&text);
	metrics_render(&text, false);
	assert_null(strstr(text.p, "EOF"));
	sbuf_fini(&text);
	metrics_retire(a);
	metrics_retire(b);
}

static void the_process_is_described(void **state)
{
	UNUSED(state);
	static const char *const names[] = { "process_cpu_seconds_total ",
					     "process_resident_memory_bytes ",
					     "process_virtual_memory_bytes ",
					     "process_start_time_seconds ",
					     "process_open_fds ",
					     "process_max_fds " };
	struct sbuf text = { 0 };

	metrics_render(&text, false);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *want = xasprintf("\n%s", names[i]);
		const char *at = strstr(text.p, want);
		assert_non_null(at);
		assert_true(strtod(at + strlen(want), NULL) >= 0);
		free(want);
	}
	sbuf_fini(&text);
}

static int count_fds(void)
{
	char *line = lines_with("process_open_fds ", false);
	int n = atoi(strrchr(line, ' ') + 1);

	free(line);
	return n;
}

static void open_descriptors_are_counted_without_the_counting_one(void **state)
{
	UNUSED(state);
	int before = count_fds(), fd = dup(1);

	assert_int_equal(count_fds(), before + 1);
	close(fd);
	assert_int_equal(count_fds(), before);
}

static void every_family_has_a_valid_name_and_labels(void **state)
{
	UNUSED(state);
	for (int m = 0; m < METRIC_COUNT; m++) {
		const struct metric_family *f = &metric_families[m];
		size_t n = strlen(f->name);
		bool total = n > 6 && strcmp(f->name + n - 6, "_total") == 0;
		assert_int_equal(strspn(f->name, "abcdefghijklmnopqrstuvwxyz_"), n);
		assert_int_equal(strspn(f->labels, "abcdefghijklmnopqrstuvwxyz_,"), strlen(f->labels));
		assert_int_equal(total, f->type == METRIC_COUNTER);
		assert_int_equal(f->n_buckets > 0, f->type == METRIC_HISTOGRAM);
		for (unsigned i = 1; i < f->n_buckets; i++)
			assert_true(f->buckets[i - 1] < f->buckets[i]);
		assert_true(f->help[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_over_threads_are_exact),
		cmocka_unit_test(a_thread_may_come_after_the_series),
		cmocka_unit_test(same_labels_are_the_same_series),
		cmocka_unit_test(series_zero_swallows_everything),
		cmocka_unit_test(a_retired_series_is_not_rendered_until_it_is_created_again),
		cmocka_unit_test(a_counter_loses_total_in_the_openmetrics_head_only),
		cmocka_unit_test(label_values_cannot_break_out_of_their_quotes),
		cmocka_unit_test(a_histogram_is_cumulative_and_scaled),
		cmocka_unit_test(a_histogram_without_labels_has_le_alone),
		cmocka_unit_test(a_gauge_is_what_was_set_or_what_its_function_says),
		cmocka_unit_test(numbers_are_written_whole_and_exact),
		cmocka_unit_test(each_family_has_one_head_and_openmetrics_ends_with_eof),
		cmocka_unit_test(the_process_is_described),
		cmocka_unit_test(open_descriptors_are_counted_without_the_counting_one),
		cmocka_unit_test(every_family_has_a_valid_name_and_labels),
	};

	metrics_thread(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
