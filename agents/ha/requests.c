/* SPDX-License-Identifier: Apache-2.0
 * What postroadd asks for, and what it is answered.
 *
 * The hard thing is silence: a postroadd that hangs keeps its connection, so what it said last is worth nothing after a
 * second; when it goes on it has to say it again.
 */
#include "agents/ha/ha.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

void ha_answer(struct ha *ha, uint32_t ticket, enum ha_type about, const char *why)
{
	struct ha_message *m = ha->out;

	memset(&m->outcome, 0, sizeof(m->outcome));
	m->type = why == NULL ? HA_DONE : HA_ERROR;
	m->outcome.ticket = ticket;
	m->outcome.about = (uint8_t)about;
	ha_text(m->outcome.text, why == NULL ? "" : why);
	server_send(&ha->server, m);
}

static void hello(struct ha *ha, const struct ha_hello *hello)
{
	struct logline l;

	log_begin(&l, LOG_LEVEL_INFO, "postroadd");
	log_cstr(&l, "node", hello->node);
	log_end(&l);
	ha->beat_at = clock_mono_ms();
	memset(&ha->out->welcome, 0, sizeof(ha->out->welcome));
	ha->out->type = HA_WELCOME;
	ha_text(ha->out->welcome.program, "postroad-ha " POSTROAD_VERSION);
	server_send(&ha->server, ha->out);
	ha->report_at = 0;
}

static void health(struct ha *ha, const struct ha_health *h)
{
	ha->beat_at = clock_mono_ms(); /* whoever says this lives */
	vips_set_health(&ha->vips, h);
}

static void probe(struct ha *ha, const struct ha_about *a)
{
	const struct ha_vip *vip = ha_table_find(ha->vips.table, a->vip);
	const char *why = vip == NULL ? "there is no such VIP in the table that is in force"
				      : probes_start(&ha->probes, a->ticket, vip);

	if (why != NULL)
		ha_answer(ha, a->ticket, HA_PROBE, why);
}

void ha_on_request(struct ha_message *m, void *arg)
{
	struct ha *ha = arg;

	switch (m->type) {
	case HA_HELLO:
		hello(ha, &m->hello);
		break;
	case HA_TABLE:
		vips_set_table(&ha->vips, &m->table);
		break;
	case HA_HEALTH:
		health(ha, &m->health);
		break;
	case HA_BEAT:
		ha->beat_at = clock_mono_ms();
		break;
	case HA_COROSYNC:
		corosync_request(&ha->corosync, &m->corosync);
		break;
	case HA_PROBE:
		probe(ha, &m->about);
		break;
	case HA_FLOWS_LIST:
	case HA_FLOWS_KEEP:
	case HA_FLOWS_DROP:
	case HA_FLOWS_OPEN:
	case HA_FLOWS_TAKE:
	case HA_FLOWS_LOST:
		ha_on_flows(ha, m);
		break;
	case HA_REQUEST_END:
	case HA_WELCOME:
	case HA_REPORT:
	case HA_ERROR:
	case HA_DONE:
	case HA_PROBED:
	case HA_FLOWS:
	case HA_ANSWER_END:
	default:
		break; /* the server lets none of these in */
	}
}
