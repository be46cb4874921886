/* /api/v1: points, summaries and charts, over HTTP and on a real Postgres. */
#include "base/json.h"
#include "storage/metrics/metric_store.h"
#include "tests/support/http_client.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"
#include "web/app.h"
#include "web/http/http_server.h"
#include "web/problem.h"
#include "web/tables.h"

#define RUN "0123456789abcdef0123456789abcdef"
#define OTHER "0123456789abcdef0123456789abcdee"

static struct pg_cluster cluster;
static struct web_app app;
static struct http_client client;
static struct route_mount mounts[2];

static int start_all(void **state UNUSED) {
  struct err err;
  uint16_t port;
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, "insert into winnow.experiment (id, name, artifact_location, created, updated) values (7, 'test', 'x', 0, 0);"
                           "insert into winnow.run (id, experiment_id, created, state, name) values ('" RUN "', 7, 0, 2, 'r'),"
                           "('" OTHER "', 7, 0, 2, 'r')");
  struct metric_store_conf conf = metric_store_conf_default();
  app = (struct web_app){.loop = cluster.loop, .clock = &clock_system, .work = cluster.work, .pg = pg_cluster_pool(&cluster, NULL)};
  app.metrics = metric_store_new(cluster.loop, app.pg, cluster.work, &conf, &err);
  assert_non_null(app.metrics);
  mounts[0] = (struct route_mount){"/api/v1", metric_routes, metric_route_count, &api_family};
  mounts[1] = (struct route_mount){"", NULL, 0, &api_family};
  struct http_server_config config = {.mounts = mounts, .mount_count = 2, .service = &app};
  app.server = http_server_new(cluster.loop, &config, &err);
  if (!app.server)
    fail_msg("%s", err.text);
  assert_true(http_server_listen_tcp(app.server, "127.0.0.1", 0, NULL, &port, &err));
  http_client_open(&client, cluster.loop, port);
  return 0;
}

static void set_true(void *ctx) {
  *(bool *)ctx = true;
}

static int stop_all(void **state UNUSED) {
  bool stopped = false;
  http_client_close(&client);
  http_server_free(app.server);
  metric_store_stop(app.metrics, set_true, &stopped);
  loop_until(cluster.loop, &stopped, 30000);
  metric_store_free(app.metrics);
  pg_pool_free(app.pg);
  loop_for(cluster.loop, 1);
  pg_cluster_stop(&cluster);
  return 0;
}

static int get(const char *path, struct http_answer *ret) {
  AUTO_BUF struct buf request = BUF_INIT(16 * KIB);
  buf_printf(&request, "GET /api/v1%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  return http_client_ask(&client, buf_text(&request), ret);
}

static json_t *get_json(const char *path, int status) {
  struct http_answer answer;
  json_t *tree = NULL;
  struct err err;
  assert_int_equal(get(path, &answer), status);
  assert_true(json_read(buf_str(&answer.body), &tree, &err));
  http_answer_release(&answer);
  return tree;
}

static int post(const char *run, const char *body) {
  struct http_answer answer;
  http_client_printf(
      &client, "POST /api/v1/runs/%s/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
      run, strlen(body));
  http_client_send(&client, str_of(body));
  assert_true(http_client_answer(&client, false, &answer));
  int status = answer.status;
  http_answer_release(&answer);
  return status;
}

static const json_t *item_at(const json_t *tree, const char *list, size_t i) {
  return json_array_get(json_object_get(tree, list), i);
}

static double number(const json_t *tree, const char *a, const char *b) {
  return json_number_value(json_object_get(json_object_get(tree, a), b));
}

static void points_and_summaries(void **state UNUSED) {
  assert_int_equal(
      post(RUN, "{\"points\":[{\"key\":\"loss\",\"value\":0.5,\"step\":1,\"time\":100},{\"key\":\"loss\",\"value\":\"NaN\",\"step\":2,"
                "\"time\":200},{\"key\":\"acc\",\"value\":1,\"step\":1}]}"),
      200);
  /* the same, in a form that only the tree reads */
  assert_int_equal(post(RUN, "{\"points\":[{\"key\":\"loss\",\"value\":0.25,\"step\":3.0,\"time\":null,\"epoch\":null}]}"), 200);
  assert_int_equal(post(RUN, "{\"points\":[{\"key\":\"loss\",\"value\":0.5,\"step\":1,\"time\":100}]}"), 200);
  AUTO_JSON json_t *tree = get_json("/runs/" RUN "/metrics", 200);
  assert_int_equal(json_array_size(json_object_get(tree, "items")), 2);
  const json_t *loss = item_at(tree, "items", 1);
  assert_string_equal(json_string_value(json_object_get(loss, "key")), "loss");
  assert_int_equal(json_integer_value(json_object_get(loss, "count")), 3);
  assert_int_equal(json_integer_value(json_object_get(loss, "nans")), 1);
  assert_true(number(loss, "first", "value") == 0.5 && number(loss, "first", "time") == 100);
  assert_true(number(loss, "last", "value") == 0.25 && number(loss, "last", "step") == 3);
  assert_true(number(loss, "min", "value") == 0.25 && number(loss, "max", "step") == 1);
}

static void refusals(void **state UNUSED) {
  static const struct {
    const char *run, *body;
    int status;
  } rows[] = {
      {RUN, "{}", 400},
      {RUN, "[", 400},
      {RUN, "{\"points\":[]}", 400},
      {RUN, "{\"points\":[{\"key\":\"a\",\"value\":1}]}", 400},
      {RUN, "{\"points\":[{\"key\":\"a\",\"value\":\"x\",\"step\":1}]}", 400},
      {RUN, "{\"points\":[{\"key\":\"a\",\"value\":1,\"stepp\":1}]}", 400},
      {RUN, "{\"points\":[{\"key\":\"a$b\",\"value\":1,\"step\":1}]}", 400},
      {RUN, "{\"points\":[{\"key\":\"../a\",\"value\":1,\"step\":1}]}", 400},
      {"nonsense", "{\"points\":[{\"key\":\"a\",\"value\":1,\"step\":1}]}", 404},
      {"ffffffffffffffffffffffffffffffff", "{\"points\":[{\"key\":\"a\",\"value\":1,\"step\":1}]}", 404},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    assert_int_equal(post(rows[i].run, rows[i].body), rows[i].status);
  static const struct {
    const char *path;
    int status;
  } asks[] = {
      {"/series", 400},
      {"/series?run=" RUN, 400},
      {"/series?run=x&key=a", 404},
      {"/series?run=ffffffffffffffffffffffffffffffff&key=a", 404},
      {"/series?run=" RUN "&key=a&from=2&to=1", 400},
      {"/series?run=" RUN "&key=a&x=stap", 400},
      {"/series?run=" RUN "&key=a&buckets=0", 400},
      {"/series?run=" RUN "&key=a&buckets=10001", 400},
      {"/series?run=" RUN "&key=a&from=1.5", 400},
      {"/series?run=" RUN "&key=a&raw=maybe", 400},
      {"/series?run=" RUN "&key=a&attempt=-1", 400},
      {"/runs/ffffffffffffffffffffffffffffffff/metrics", 404},
  };
  for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
    AUTO_JSON json_t *tree = get_json(asks[i].path, asks[i].status);
    assert_non_null(json_object_get(tree, "code"));
  }
}

enum { LONG = 10000 };

static void write_long(void) {
  AUTO_BUF struct buf body = BUF_INIT(4 * MIB);
  buf_puts(&body, "{\"points\":[");
  for (int i = 0; i < LONG; i++)
    buf_printf(&body, "%s{\"key\":\"long\",\"value\":%s,\"step\":%d,\"time\":%d}", i ? "," : "", i == 4321 ? "1e6" : "0.5", i,
               1000 + i * 10);
  buf_puts(&body, "]}");
  assert_int_equal(post(OTHER, buf_text(&body)), 200);
}

static void charts(void **state UNUSED) {
  write_long();
  static const char *const axes[] = {"x=step", "x=time", "x=relative", "x=step&scale=log", "x=relative&scale=log&from=5&to=50000"};
  for (size_t a = 0; a < ARRAY_LEN(axes); a++) {
    char path[200];
    snprintf(path, sizeof path, "/series?run=" OTHER "&run=" RUN "&key=long&buckets=100&%s", axes[a]);
    AUTO_JSON json_t *tree = get_json(path, 200);
    assert_int_equal(json_array_size(json_object_get(tree, "series")), 1);
    const json_t *series = item_at(tree, "series", 0);
    const json_t *n = json_object_get(series, "n"), *max = json_object_get(series, "max"), *x = json_object_get(series, "x");
    int64_t points = 0;
    size_t spikes = 0;
    assert_in_range(json_array_size(n), 20, 100);
    for (size_t i = 0; i < json_array_size(n); i++) {
      points += json_integer_value(json_array_get(n, i));
      spikes += json_number_value(json_array_get(max, i)) == 1e6;
      assert_true(i == 0 || json_integer_value(json_array_get(x, i)) > json_integer_value(json_array_get(x, i - 1)));
    }
    assert_int_equal(points, json_integer_value(json_object_get(series, "points")));
    assert_true(strstr(axes[a], "log") ? points < LONG : points == LONG);
    assert_int_equal(spikes, 1);
    assert_true(json_is_null(json_object_get(series, "damaged")));
  }
}

static size_t lines_of(const struct buf *body) {
  size_t n = 0;
  for (size_t i = 0; i < body->n; i++)
    n += body->p[i] == '\n';
  return n;
}

static void raw(void **state UNUSED) {
  struct http_answer answer;
  assert_int_equal(get("/series?run=" OTHER "&run=" RUN "&key=long&key=loss&raw=true", &answer), 200);
  assert_true(answer.complete);
  assert_int_equal(lines_of(&answer.body), 1 + LONG + 3);
  assert_true(str_starts(buf_str(&answer.body), STR("run,key,step,epoch,time,value\n" OTHER ",\"long\",0,,1000,0.5\n")));
  http_answer_release(&answer);
  assert_int_equal(get("/series?run=" OTHER "&key=long&raw=true&format=jsonl&from=4321&to=4322", &answer), 200);
  assert_true(str_is(buf_str(&answer.body),
                     "{\"run\":\"" OTHER "\",\"key\":\"long\",\"value\":1000000.0,\"step\":4321,\"epoch\":null,\"time\":44210}\n"
                     "{\"run\":\"" OTHER "\",\"key\":\"long\",\"value\":0.5,\"step\":4322,\"epoch\":null,\"time\":44220}\n"));
  http_answer_release(&answer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(points_and_summaries),
      cmocka_unit_test(refusals),
      cmocka_unit_test(charts),
      cmocka_unit_test(raw),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
