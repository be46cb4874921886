#include "web/prom.h"

#include "base/map.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "web/app.h"

enum { SERIES_MAX = 4096, BUCKETS = 12 };

static const double bucket_ends[BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30};

/* Of one route pattern and method. */
struct series {
  char *pattern;
  enum http_method method;
  uint64_t by_class[6]; /* status / 100 */
  uint64_t buckets[BUCKETS + 1];
  uint64_t count, bytes_in, bytes_out;
  double seconds;
};

struct prom {
  struct map series; /* of "METHOD pattern" */
  uint64_t dropped;
};

struct prom *prom_new(struct err *err) {
  struct prom *prom = mem_zalloc(sizeof *prom);
  if (!prom) {
    err_no_memory(err);
    return NULL;
  }
  map_init(&prom->series, SERIES_MAX);
  return prom;
}

void prom_free(struct prom *prom) {
  if (!prom)
    return;
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&prom->series, &cursor, &key, &value);) {
    struct series *series = value;
    mem_free(series->pattern);
    mem_free(series);
  }
  map_release(&prom->series);
  mem_free(prom);
}

static struct series *series_for(struct prom *prom, const struct http_observation *observation) {
  char key_text[512];
  int n = snprintf(key_text, sizeof key_text, "%s %s", http_method_name(observation->method), observation->pattern);
  struct str key = str_n(key_text, MIN_OF((size_t)MAX_OF(n, 0), sizeof key_text - 1));
  struct series *series = map_get(&prom->series, key);
  if (series)
    return series;
  series = mem_zalloc(sizeof *series);
  if (series)
    series->pattern = mem_strdup(observation->pattern);
  if (!series || !series->pattern || !map_put(&prom->series, key, series, NULL)) {
    if (series)
      mem_free(series->pattern);
    mem_free(series);
    return NULL;
  }
  series->method = observation->method;
  return series;
}

void prom_observe(void *ctx, const struct http_observation *observation) {
  struct prom *prom = ctx;
  struct series *series = series_for(prom, observation);
  if (!series) {
    prom->dropped++;
    return;
  }
  double seconds = (double)observation->duration_us / 1e6;
  size_t bucket = 0;
  while (bucket < BUCKETS && seconds > bucket_ends[bucket])
    bucket++;
  series->buckets[bucket]++;
  series->by_class[(unsigned)observation->status / 100 < 6 ? observation->status / 100 : 5]++;
  series->count++;
  series->seconds += seconds;
  series->bytes_in += observation->bytes_in;
  series->bytes_out += observation->bytes_out;
}

static void head(struct buf *out, const char *name, const char *type, const char *help) {
  buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void labels(struct buf *out, const char *name, const struct series *series) {
  buf_printf(out, "%s{route=\"%s\",method=\"%s\"", name, series->pattern[0] ? series->pattern : "(none)", http_method_name(series->method));
}

static void write_routes(const struct prom *prom, struct buf *out) {
  struct str key;
  void *value;
  head(out, "winnow_http_requests_total", "counter", "Requests answered, by route, method and class of status.");
  for (size_t cursor = 0; map_next(&prom->series, &cursor, &key, &value);) {
    const struct series *series = value;
    for (size_t class = 1; class < ARRAY_LEN(series->by_class); class ++)
      if (series->by_class[class]) {
        labels(out, "winnow_http_requests_total", series);
        buf_printf(out, ",status=\"%zuxx\"} %llu\n", class, (unsigned long long)series->by_class[class]);
      }
  }
  head(out, "winnow_http_request_seconds", "histogram", "Time from the head of a request to the end of its answer.");
  for (size_t cursor = 0; map_next(&prom->series, &cursor, &key, &value);) {
    const struct series *series = value;
    uint64_t sum = 0;
    for (size_t i = 0; i <= BUCKETS; i++) {
      sum += series->buckets[i];
      labels(out, "winnow_http_request_seconds_bucket", series);
      if (i < BUCKETS)
        buf_printf(out, ",le=\"%g\"} %llu\n", bucket_ends[i], (unsigned long long)sum);
      else
        buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    }
    labels(out, "winnow_http_request_seconds_sum", series);
    buf_printf(out, "} %.6f\n", series->seconds);
    labels(out, "winnow_http_request_seconds_count", series);
    buf_printf(out, "} %llu\n", (unsigned long long)series->count);
  }
}

struct number {
  const char *name, *type, *help;
  double value;
};

static void write_numbers(struct buf *out, const struct number *numbers, size_t count) {
  for (size_t i = 0; i < count; i++) {
    head(out, numbers[i].name, numbers[i].type, numbers[i].help);
    buf_printf(out, "%s %.17g\n", numbers[i].name, numbers[i].value);
  }
}

void prom_write(const struct prom *prom, const struct web_app *app, struct buf *out) {
  struct http_server_stats http;
  http_server_stats(app->server, &http);
  struct pg_pool_stats pg = {0};
  if (app->pg)
    pg = pg_pool_stats(app->pg);
  const struct number numbers[] = {
      {"winnow_start_time_seconds", "gauge", "When the service started.", (double)app->status.started_ms / 1000},
      {"winnow_http_connections", "gauge", "Open connections.", (double)http.connections},
      {"winnow_http_connections_idle", "gauge", "Open connections between two requests.", (double)http.idle},
      {"winnow_http_requests_in_flight", "gauge", "Requests not answered yet.", (double)http.requests_in_flight},
      {"winnow_http_connections_accepted_total", "counter", "Connections accepted.", (double)http.accepted},
      {"winnow_http_connections_shed_total", "counter", "Connections refused for want of descriptors or room.", (double)http.shed},
      {"winnow_http_accepting", "gauge", "1 while new connections are accepted.", http.accepting},
      {"winnow_database_up", "gauge", "1 while Postgres answers.", app->status.database_up},
      {"winnow_database_connections", "gauge", "Connections to Postgres.", pg.connections_up},
      {"winnow_database_waiting", "gauge", "Statements that wait for a connection.", (double)pg.waiting},
      {"winnow_database_in_flight", "gauge", "Statements sent and not answered.", (double)pg.in_flight},
      {"winnow_database_done_total", "counter", "Statements done.", (double)pg.done},
      {"winnow_database_rejected_total", "counter", "Statements the server refused.", (double)pg.rejected},
      {"winnow_database_retried_total", "counter", "Statements sent again.", (double)pg.retried},
      {"winnow_database_cancelled_total", "counter", "Statements given up before they were sent.", (double)pg.cancelled},
      {"winnow_database_unknown_total", "counter", "Statements whose fate is not known.", (double)pg.unknown},
      {"winnow_database_reconnects_total", "counter", "Connections made again.", (double)pg.reconnects},
      {"winnow_tokens", "gauge", "Valid tokens and sessions.", (double)app->tokens.by_hash.count},
      {"winnow_metrics_dropped_total", "counter", "Observations without room.", (double)prom->dropped},
  };
  write_numbers(out, numbers, ARRAY_LEN(numbers));
  write_routes(prom, out);
}
