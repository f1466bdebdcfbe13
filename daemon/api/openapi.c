/* SPDX-License-Identifier: Apache-2.0
 * The OpenAPI 3.1 description, made from the table of resources and the configuration's schemas: it cannot say what is
 * not so.
 */
#include <stdlib.h>
#include <strings.h>

#include "daemon/api/api_private.h"

static json_t *parameter(const char *name, size_t n, const char *in)
{
	bool path = strcmp(in, "path") == 0;

	return json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", name, n, "in", in, "required", path, "schema", "type",
			 "string");
}

static void add_path_parameters(json_t *list, const char *pattern)
{
	for (const char *at = strchr(pattern, '{'); at != NULL; at = strchr(at, '{')) {
		size_t n = strcspn(++at, "}");
		json_array_append_new(list, parameter(at, n, "path"));
	}
}

static void add_query_parameters(json_t *list, const char *query)
{
	while (*query != '\0') {
		size_t n = strcspn(query, ",");
		json_array_append_new(list, parameter(query, n, "query"));
		query += n + (query[n] == ',');
	}
}

/* A write to the cluster's log: its outcome may not be known in time. */
static bool is_logged(const struct resource *r)
{
	static const char *const parts[] = { "/config",         "/cluster/tokens", "/cluster/members",
					     "/cluster/change", "/cluster/leave",  "/cluster/rotate-keys" };

	if (r->method == EVHTTP_REQ_GET)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strstr(r->pattern, parts[i]) != NULL)
			return true;
	return strstr(r->query, "scope") != NULL;
}

static void add_header_parameters(json_t *list, const struct resource *r)
{
	if (r->method == EVHTTP_REQ_GET || r->method == EVHTTP_REQ_HEAD)
		return;
	if (r->role == ROLE_ADMIN) {
		json_array_append_new(list, parameter("If-Match", 8, "header"));
		json_array_append_new(list, parameter("If-None-Match", 13, "header"));
	}
	if (r->role != ROLE_NONE && (r->method != EVHTTP_REQ_DELETE || is_logged(r)))
		json_array_append_new(list, parameter("Idempotency-Key", 15, "header"));
}

/* The whole document is described; other bodies are objects. */
static json_t *body_schema(const struct resource *r)
{
	if (r->fn == res_config_put)
		return json_pack("{s:s}", "$ref", "#/components/schemas/Config");
	return json_pack("{s:s}", "type", "object");
}

static json_t *request_body(const struct resource *r)
{
	json_t *content = json_object();

	for (const char *at = r->body; *at != '\0';) {
		size_t n = strcspn(at, ",");
		char *type = xstrndup(at, n);
		json_object_set_new(content, type, json_pack("{s:o}", "schema", body_schema(r)));
		free(type);
		at += n + (at[n] == ',');
	}
	return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

static json_t *responses(const struct resource *r)
{
	static const char ref[] = "#/components/schemas/Problem";
	json_t *problem = json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", "A refusal", "content",
				    "application/problem+json", "schema", "$ref", ref);
	json_t *o = json_pack("{s:{s:s}, s:o}", "200", "description", "Done", "default", problem);

	if (r->fn == res_object_put || r->fn == res_object_patch)
		json_object_set_new(o, "201", json_pack("{s:s}", "description", "Created"));
	if (is_logged(r))
		json_object_set_new(o, "202",
				    json_pack("{s:s}", "description", "Not known in time; the Location tells later"));
	return o;
}

static json_t *operation(const struct resource *r)
{
	json_t *parameters = json_array();

	add_path_parameters(parameters, r->pattern);
	add_query_parameters(parameters, r->query);
	add_header_parameters(parameters, r);
	json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "operationId", r->operation + strlen("res_"), "summary",
			      r->summary, "x-role", token_role_names[r->role], "parameters", parameters, "responses",
			      responses(r), "security",
			      r->role == ROLE_NONE ? json_array() : json_pack("[{s:[]}]", "token"));
	if (r->body[0] != '\0')
		json_object_set_new(o, "requestBody", request_body(r));
	return o;
}

static json_t *paths_json(void)
{
	json_t *paths = json_object();

	for (size_t i = 0; i < resource_count; i++) {
		const struct resource *r = &resources[i];
		json_t *item = json_object_get(paths, r->pattern);
		char method[16] = "";
		if (item == NULL) {
			item = json_object();
			json_object_set_new(paths, r->pattern, item);
		}
		strncpy(method, r->method_name, sizeof(method) - 1);
		ascii_lower(method, strlen(method));
		json_object_set_new(item, method, operation(r));
	}
	return paths;
}

static json_t *problem_schema(void)
{
	return json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:{s:s}}}}", "type", "object",
			 "properties", "type", "type", "string", "title", "type", "string", "status", "type", "integer",
			 "detail", "type", "string", "instance", "type", "string", "errors", "type", "array", "items",
			 "type", "object");
}

json_t *openapi_json(void)
{
	json_t *schemas = conf_openapi_schemas();

	json_object_set_new(schemas, "Problem", problem_schema());
	return json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s}}}}", "openapi", "3.1.0", "info", "title",
			 "Postroad", "version", POSTROAD_VERSION, "paths", paths_json(), "components", "schemas",
			 schemas, "securitySchemes", "token", "type", "http", "scheme", "bearer");
}
