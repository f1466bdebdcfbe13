/* SPDX-License-Identifier: Apache-2.0
 * What lives at the root: health, metrics, the description, a page for people.
 */
#include "daemon/api/api_private.h"

static const char page[] =
	"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Postroad</title>\n"
	"<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 "
	"1em}code{background:#eee}</style></head>\n"
	"<body><h1>Postroad</h1>\n<p>An SMTP load balancer. This is its administration address.</p>\n<ul>\n"
	"<li><a href=\"/healthz\">/healthz</a>: the process answers</li>\n"
	"<li><a href=\"/readyz\">/readyz</a>: this node should receive mail</li>\n"
	"<li><code>/metrics</code>: Prometheus text or OpenMetrics</li>\n"
	"<li><code>/api/v1</code>: the REST API, described by <code>/api/v1/openapi.json</code>; needs a bearer "
	"token</li>\n"
	"</ul>\n<p>On the node itself: <code>postroad status</code>.</p></body></html>\n";

void res_root_page(struct call *c)
{
	call_set_header(c, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	call_text(c, 200, "text/html; charset=utf-8", (struct str) { page, sizeof(page) - 1 });
}

void res_root_healthz(struct call *c)
{
	call_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

void res_root_readyz(struct call *c)
{
	json_t *reasons = status_not_ready(c->api);
	bool ready = json_array_size(reasons) == 0;

	call_json(c, ready ? 200 : 503, json_pack("{s:b, s:o}", "ready", ready, "not_ready", reasons));
}

void res_root_metrics(struct call *c)
{
	const char *accept = call_header(c, "Accept");
	bool open_metrics = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
	struct sbuf out = { 0 };

	metrics_render(&out, open_metrics);
	call_text(c, 200,
		  open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			       : "text/plain; version=0.0.4; charset=utf-8",
		  (struct str) { out.p != NULL ? out.p : "", out.n });
	sbuf_fini(&out);
}

void res_root_openapi(struct call *c)
{
	call_json(c, 200, openapi_json());
}
