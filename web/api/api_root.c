/* What lies at the root: the plain page, its style, /health, /metrics, /docs, /login. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/openapi.h"
#include "web/prom.h"
#include "web/session.h"
#include "web/tables.h"

/* Everything from here, nothing from elsewhere, no script at all. */
#define PLAIN_POLICY "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

static void reply_html(struct http_req *req, struct buf *body) {
  http_reply_header(req, "Content-Security-Policy", STR(PLAIN_POLICY));
  http_reply_body(req, 200, "text/html; charset=utf-8", body);
}

static void put_row(struct buf *out, const char *name, const char *value) {
  buf_printf(out, "<tr><th>%s<td>%s", name, value);
}

static void get_page(struct http_req *req) {
  const struct web_app *app = web_app(req);
  char started[32];
  clock_format_iso(app->status.started_ms, started);
  struct buf body = BUF_INIT(64 * KIB);
  buf_puts(&body,
           "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>Winnow</title>"
           "<link rel=stylesheet href=/assets/plain.css><main><h1>Winnow</h1>"
           "<p>Hyperparameter sweeps and experiment tracking, in one program.</p><table>");
  put_row(&body, "Version", WINNOW_VERSION);
  put_row(&body, "Service", app->status.draining ? "<b class=warn>draining</b>" : "<b class=good>running</b>");
  put_row(&body, "Database",
          app->status.database_up ? "<b class=good>up</b>" : "<b class=warn>away: reading and writing will work again when it is back</b>");
  put_row(&body, "Started", started);
  buf_puts(&body, "</table><h2>Begin</h2><p>Track a run from Python, with the MLflow client as it is:</p><pre>import mlflow\n"
                  "mlflow.set_tracking_uri(\"");
  buf_puts(&body, app->status.url ? app->status.url : "http://127.0.0.1:7070");
  buf_puts(&body, "\")\nwith mlflow.start_run():\n    mlflow.log_param(\"lr\", 0.01)\n    mlflow.log_metric(\"loss\", 0.5, step=1)</pre>"
                  "<p>From the shell: <code>winnow run ls</code>, <code>winnow help</code>.</p>"
                  "<h2>More</h2><ul><li><a href=/docs>The API</a>, also as <a href=/api/v1/openapi.json>OpenAPI</a>"
                  "<li><a href=/api/v1/status>Status</a><li><a href=/metrics>Metrics for Prometheus</a></ul></main></html>\n");
  reply_html(req, &body);
}

static const char plain_css[] =
    ":root{color-scheme:light dark;--fg:#1d2430;--bg:#fbfbfa;--dim:#5b6472;--line:#d9dce1;--good:#176b3a;--warn:#a04a00}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e4e7eb;--bg:#16191d;--dim:#98a1ad;--line:#343a42;--good:#6ccf94;--warn:#f0a35e}}"
    "body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:60rem;margin:2rem auto;padding:0 1rem}h1{margin:.2rem 0}h2{margin:2rem 0 .5rem;font-size:1.1rem}"
    "a{color:inherit}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid var(--line)}th{font-weight:500;color:var(--dim);white-space:nowrap}td{overflow-wrap:anywhere}"
    "pre{background:#8881;border:1px solid var(--line);border-radius:6px;padding:.8rem;overflow-x:auto}code,pre{font-family:ui-monospace,"
    "monospace;font-size:.9em}.routes td:nth-child(2){width:42%;min-width:14rem}.doc{color:var(--dim);font-size:.9rem}.good{color:var(--good)}.warn{color:var(--warn)}";

static void get_style(struct http_req *req) {
  static char etag[16];
  static const struct http_asset asset = {
      .content_type = "text/css; charset=utf-8", .plain = {plain_css, sizeof plain_css - 1}, .etag = etag, .cache_control = "no-cache"};
  if (!etag[0])
    snprintf(etag, sizeof etag, "\"%08x\"", (unsigned)crc32c(0, plain_css, sizeof plain_css - 1));
  http_reply_asset(req, &asset);
}

/* Alive: the loop answers. Whether the database does is told by /api/v1/status. */
static void get_health(struct http_req *req) {
  http_reply_text(req, 200, "OK");
}

static void get_metrics(struct http_req *req) {
  const struct web_app *app = web_app(req);
  struct buf body = BUF_INIT(8 * MIB);
  prom_write(app->prom, app, &body);
  http_reply_body(req, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static void get_docs(struct http_req *req) {
  const struct web_app *app = web_app(req);
  struct buf body = BUF_INIT(4 * MIB);
  openapi_write_html(app->mounts, app->mount_count, &body);
  reply_html(req, &body);
}

const struct route root_routes[] = {
    {.method = HTTP_GET, .path = "/", .policy = POLICY_READ, .handler = get_page, .summary = "The plain page: status and how to begin"},
    {.method = HTTP_GET, .path = "/assets/plain.css", .policy = POLICY_PUBLIC, .handler = get_style, .summary = "Its style"},
    {.method = HTTP_GET, .path = "/health", .policy = POLICY_PUBLIC, .handler = get_health, .summary = "Alive? The text OK"},
    {.method = HTTP_GET, .path = "/metrics", .policy = POLICY_READ, .handler = get_metrics, .summary = "For Prometheus"},
    {.method = HTTP_GET, .path = "/docs", .policy = POLICY_READ, .reach = REACH_ANY, .handler = get_docs, .summary = "This API, to read"},
    {.method = HTTP_GET,
     .path = "/login",
     .policy = POLICY_PUBLIC,
     .handler = web_get_login,
     .summary = "Opens the page with a one-time link",
     .query = "code:string"},
};
const size_t root_route_count = ARRAY_LEN(root_routes);
