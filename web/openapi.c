#include "web/openapi.h"

#include <ctype.h>

#include "base/json.h"
#include "web/schemas.h"

static const char *const policy_docs[] = {
    [POLICY_UNSET] = "",
    [POLICY_PUBLIC] = "Open to everybody.",
    [POLICY_READ] = "Open on loopback; else the scope `read`.",
    [POLICY_TRACK] = "Open on loopback, but for runs that an executor runs; else the scope `write`.",
    [POLICY_CURATE] = "Open on loopback to the user the service runs as; else the scope `write`.",
    [POLICY_WRITE] = "Needs the scope `write`.",
    [POLICY_SUBMIT] = "Needs the scope `submit`.",
    [POLICY_ADMIN] = "Needs the scope `admin`.",
};

/* What a job's token may here. */
static const char *reach_doc(const struct route *route) {
  static const char *const writing[] = {
      [REACH_NOTHING] = "",
      [REACH_ANY] = " A job's token may.",
      [REACH_NAMED] = " A job's token may for its own run and the runs below it.",
      [REACH_LOGGED] = " A job's token may for its own run and the runs below it.",
      [REACH_CHILD] = " A job's token may below its own run (the tag `mlflow.parentRunId`).",
      [REACH_MODEL] = " A job's token may for its own run and the runs below it.",
      [REACH_NEW_VERSION] = " A job's token may from its own run and the runs below it.",
      [REACH_VERSION] = " A job's token may for what was made from its own run and the runs below it.",
      [REACH_FILES] = "",
      [REACH_ATTEMPT] = " A job's token may for its own attempt.",
  };
  bool is_bounded = route->reach != REACH_NOTHING && route->reach != REACH_ANY && route->reach != REACH_ATTEMPT;
  return route->policy == POLICY_READ && is_bounded ? " A job's token may within the experiment of its run." : writing[route->reach];
}

/* Whether it heeds an Idempotency-Key. */
static bool is_done_once(const struct route *route) {
  return route->creates != CREATES_NOTHING && route->creates != CREATES_NAMED;
}

/* "/runs/{path...}" and "/runs/{path*}" are "/runs/{path}" in OpenAPI. */
static void put_path(struct buf *out, const char *prefix, const char *path) {
  buf_puts(out, prefix);
  for (const char *p = path; *p; p++) {
    if (strncmp(p, "...}", 4) == 0)
      p += 3;
    else if (strncmp(p, "*}", 2) == 0)
      p++;
    buf_putc(out, *p);
  }
}

/* "integer", "step|time", "string[]" as a schema. */
static void put_type(struct json_writer *w, struct str type) {
  bool several = str_ends(type, STR("[]"));
  if (several)
    type.n -= 2;
  jw_object(w);
  if (several) {
    jw_put_text(w, "type", "array");
    jw_key(w, "items");
    jw_object(w);
  }
  if (str_find(type, '|') == SIZE_MAX) {
    jw_put_str(w, "type", type);
  } else {
    struct str word;
    jw_put_text(w, "type", "string");
    jw_key(w, "enum");
    jw_array(w);
    while (str_split(&type, '|', &word))
      jw_str(w, word);
    jw_array_end(w);
  }
  if (several)
    jw_object_end(w);
  jw_object_end(w);
}

/* Of the parameters that mean the same wherever they stand. */
static const char *meaning_of(struct str name) {
  static const struct {
    const char *name, *meaning;
  } rows[] = {
      {"limit", "at most so many"},
      {"cursor", "`next` of the page before, asked for with the same other parameters"},
      {"filter", "MLflow's search language: metrics.loss < 0.1 AND params.lr = '0.01'"},
      {"attempt", "only what this one gave; absent: what all together come to"},
      {"Idempotency-Key", "a text of your own: the same request with the same text is done once"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (str_is(name, rows[i].name))
      return rows[i].meaning;
  return NULL;
}

static void put_parameter(struct json_writer *w, struct str name, const char *in, struct str type) {
  jw_object(w);
  jw_put_str(w, "name", name);
  jw_put_text(w, "in", in);
  jw_put_bool(w, "required", in[0] == 'p');
  if (in[0] != 'p' && meaning_of(name))
    jw_put_text(w, "description", meaning_of(name));
  jw_key(w, "schema");
  put_type(w, type);
  jw_object_end(w);
}

static void put_parameters(struct json_writer *w, const struct route *route) {
  jw_key(w, "parameters");
  jw_array(w);
  for (const char *p = strchr(route->path, '{'); p; p = strchr(p + 1, '{')) {
    size_t n = strcspn(p + 1, ".*}");
    put_parameter(w, str_n(p + 1, n), "path", STR("string"));
  }
  struct str rest = str_of(route->query), name, type;
  while (route_query_next(&rest, &name, &type))
    put_parameter(w, name, "query", type);
  if (is_done_once(route))
    put_parameter(w, STR("Idempotency-Key"), "header", STR("string"));
  jw_array_end(w);
}

static void put_schema(struct json_writer *w, struct str media, const char *name) {
  jw_key(w, "schema");
  jw_object(w);
  if (name) {
    char reference[128];
    snprintf(reference, sizeof reference, "#/components/schemas/%s", name);
    jw_put_text(w, "$ref", reference);
  } else if (!str_ends(media, STR("json"))) {
    jw_put_text(w, "type", "string");
    if (!str_starts(media, STR("text/")))
      jw_put_text(w, "format", "binary");
  }
  jw_object_end(w);
}

/* `schema`, which may be NULL, is that of the first media type. */
static void put_content(struct json_writer *w, const char *media, const char *schema) {
  struct str rest = str_of(media), type;
  jw_key(w, "content");
  jw_object(w);
  while (str_split(&rest, ',', &type)) {
    jw_key_str(w, type);
    jw_object(w);
    put_schema(w, type, schema);
    jw_object_end(w);
    schema = NULL;
  }
  jw_object_end(w);
}

static void put_body(struct json_writer *w, const struct route *route, bool is_described) {
  const char *type = route->request_type ? route->request_type : route->request_schema || !is_described ? "application/json" : NULL;
  if (route->body == BODY_STREAM)
    type = "application/octet-stream";
  if (route->body == BODY_NONE || !type)
    return;
  jw_key(w, "requestBody");
  jw_object(w);
  jw_put_bool(w, "required", true);
  put_content(w, type, route->request_schema);
  jw_object_end(w);
}

static void put_answer(struct json_writer *w, const struct route *route, bool is_described) {
  const char *type = route->response_type ? route->response_type : route->response_schema ? "application/json" : NULL;
  bool is_empty = is_described && !type;
  jw_key(w, is_empty ? "204" : "2XX");
  jw_object(w);
  jw_put_text(w, "description", is_empty ? "done; there is no content" : "done");
  if (type)
    put_content(w, type, route->response_schema);
  jw_object_end(w);
}

/* What generators call it, and the group they put it into: "get_runs_id_metrics" of "runs". Other families keep their prefix, as some are
 * mounted more than once. */
static void put_name(struct json_writer *w, const char *method, const struct route_mount *mount, const struct route *route) {
  AUTO_BUF struct buf name = BUF_INIT(4096);
  buf_puts(&name, method);
  const char *const parts[] = {mount->family->is_described ? "" : mount->prefix, route->path};
  for (size_t i = 0; i < ARRAY_LEN(parts); i++)
    for (const char *p = parts[i]; *p; p++)
      if (isalnum((unsigned char)*p))
        buf_putc(&name, *p);
      else if (*p == '/' || *p == '-' || (*p == '.' && p[1] != '.' && p[-1] != '.'))
        buf_putc(&name, '_');
  jw_put_str(w, "operationId", buf_str(&name));
  jw_key(w, "tags");
  jw_array(w);
  if (mount->family->is_described)
    jw_str(w, str_n(route->path + 1, strcspn(route->path + 1, "/")));
  else
    jw_text(w, mount->family->name);
  jw_array_end(w);
}

static void put_operation(struct json_writer *w, const struct route_mount *mount, const struct route *route) {
  static const char *const keys[HTTP_METHOD_COUNT] = {"get", "head", "post", "put", "patch", "delete", "options"};
  jw_key(w, keys[route->method]);
  jw_object(w);
  put_name(w, keys[route->method], mount, route);
  jw_put_text(w, "summary", route->summary);
  AUTO_BUF struct buf description = BUF_INIT(64 * KIB);
  if (route->doc)
    buf_printf(&description, "%s\n\n", route->doc);
  if (is_done_once(route))
    buf_puts(
        &description,
        "With the header `Idempotency-Key` it is done once, however often it is sent within a day; the first answer is given again.\n\n");
  buf_printf(&description, "Access: %s%s", policy_docs[route->policy], reach_doc(route));
  jw_put_str(w, "description", buf_str(&description));
  put_parameters(w, route);
  put_body(w, route, mount->family->is_described);
  jw_key(w, "responses");
  jw_object(w);
  put_answer(w, route, mount->family->is_described);
  jw_key(w, "default");
  jw_object(w);
  jw_put_text(w, "description", "an error");
  put_content(w, "application/problem+json", "problem");
  jw_object_end(w);
  jw_object_end(w);
  jw_key(w, "security");
  jw_array(w);
  if (route->policy != POLICY_PUBLIC) {
    jw_object(w);
    jw_key(w, "token");
    jw_array(w);
    jw_array_end(w);
    jw_object_end(w);
  }
  jw_array_end(w);
  jw_put_text(w, "x-winnow-policy", route_policy_name(route->policy));
  jw_put_text(w, "x-winnow-job", route_reach_name(route->reach));
  jw_object_end(w);
}

static bool seen_before(const struct route_mount *mount, size_t i) {
  for (size_t j = 0; j < i; j++)
    if (strcmp(mount->routes[j].path, mount->routes[i].path) == 0)
      return true;
  return false;
}

static void put_paths(struct json_writer *w, const struct route_mount *mount) {
  for (size_t i = 0; i < mount->count; i++) {
    if (seen_before(mount, i))
      continue;
    AUTO_BUF struct buf path = BUF_INIT(4096);
    put_path(&path, mount->prefix, mount->routes[i].path);
    jw_key_str(w, buf_str(&path));
    jw_object(w);
    for (size_t j = i; j < mount->count; j++)
      if (strcmp(mount->routes[j].path, mount->routes[i].path) == 0)
        put_operation(w, mount, &mount->routes[j]);
    jw_object_end(w);
  }
}

static bool wanted(const struct route_mount *mount, const char *only) {
  return !only || strcmp(mount->prefix, only) == 0;
}

/* Several tables may be mounted under one prefix; a path stands in one of them only. */
void openapi_write(const struct route_mount *mounts, size_t count, const char *only, struct buf *out) {
  struct json_writer w;
  jw_init(&w, out);
  jw_object(&w);
  jw_put_text(&w, "openapi", "3.1.0");
  jw_key(&w, "info");
  jw_object(&w);
  jw_put_text(&w, "title", "Winnow");
  jw_put_text(&w, "version", WINNOW_VERSION);
  jw_put_text(
      &w, "description",
      "Times are integer milliseconds UTC. A number that JSON cannot say is a text. What an answer must have is always there, null when unknown; "
      "more may be added. A list is `items`, and `next`, the `cursor` of the page after, or null. Errors are `application/problem+json`.");
  jw_key(&w, "license");
  jw_object(&w);
  jw_put_text(&w, "name", "GNU General Public License, version 3 or later");
  jw_put_text(&w, "identifier", "GPL-3.0-or-later");
  jw_object_end(&w);
  jw_object_end(&w);
  jw_key(&w, "paths");
  jw_object(&w);
  for (size_t i = 0; i < count; i++)
    if (wanted(&mounts[i], only))
      put_paths(&w, &mounts[i]);
  jw_object_end(&w);
  jw_key(&w, "components");
  jw_object(&w);
  jw_key(&w, "securitySchemes");
  jw_object(&w);
  jw_key(&w, "token");
  jw_object(&w);
  jw_put_text(&w, "type", "http");
  jw_put_text(&w, "scheme", "bearer");
  jw_object_end(&w);
  jw_object_end(&w);
  jw_key(&w, "schemas");
  jw_object(&w);
  for (size_t i = 0; i < api_schema_count; i++) {
    jw_key(&w, api_schemas[i].name);
    jw_raw(&w, str_of(api_schemas[i].json));
  }
  jw_object_end(&w);
  jw_object_end(&w);
  jw_object_end(&w);
}

static void put_html(struct buf *out, const char *text) {
  for (const char *p = text; *p; p++)
    switch (*p) {
    case '<':
      buf_puts(out, "&lt;");
      break;
    case '>':
      buf_puts(out, "&gt;");
      break;
    case '&':
      buf_puts(out, "&amp;");
      break;
    case '"':
      buf_puts(out, "&quot;");
      break;
    default:
      buf_putc(out, *p);
    }
}

static void put_html_head(struct buf *out, const char *prefix) {
  buf_puts(out, "<h2><code>");
  put_html(out, prefix[0] ? prefix : "/");
  buf_puts(out, "</code></h2><table class=routes><thead><tr><th>Method<th>Path<th>Does<th>Access</thead><tbody>");
}

static void put_html_query(struct buf *out, const struct route *route) {
  struct str rest = str_of(route->query), name, type;
  if (!route->query)
    return;
  buf_puts(out, "<div class=doc>takes");
  while (route_query_next(&rest, &name, &type))
    buf_printf(out, " <code>%.*s</code>", STR_ARG(name));
  buf_puts(out, "</div>");
}

static void put_html_row(struct buf *out, const char *prefix, const struct route *route) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  put_path(&path, prefix, route->path);
  buf_printf(out, "<tr><td><code>%s</code><td><code>", http_method_name(route->method));
  put_html(out, buf_text(&path));
  buf_puts(out, "</code>");
  put_html_query(out, route);
  buf_puts(out, "<td>");
  put_html(out, route->summary);
  if (route->doc) {
    buf_puts(out, "<div class=doc>");
    put_html(out, route->doc);
    buf_puts(out, "</div>");
  }
  buf_printf(out, "<td>%s", route_policy_name(route->policy));
}

void openapi_write_html(const struct route_mount *mounts, size_t count, struct buf *out) {
  buf_puts(out, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
                "<title>Winnow: the API</title><link rel=stylesheet href=/assets/plain.css>"
                "<main><p><a href=/>Winnow</a></p><h1>The API</h1><p>JSON in and out. Generated from the table of routes; for programs: "
                "<a href=/api/v1/openapi.json>openapi.json</a> (OpenAPI 3.1).</p>");
  for (size_t m = 0; m < count; m++) {
    bool goes_on = m > 0 && strcmp(mounts[m].prefix, mounts[m - 1].prefix) == 0;
    if (!goes_on)
      put_html_head(out, mounts[m].prefix);
    for (size_t i = 0; i < mounts[m].count; i++)
      put_html_row(out, mounts[m].prefix, &mounts[m].routes[i]);
    if (m + 1 == count || strcmp(mounts[m].prefix, mounts[m + 1].prefix) != 0)
      buf_puts(out, "</tbody></table>");
  }
  buf_puts(out, "</main></html>\n");
}
