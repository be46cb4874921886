/* Clients that each send a request, wait for the answer and send the next, on kept connections, and what they saw: one line of JSON.
 *
 *     bench_load HOST PORT CLIENTS SECONDS metric RUN...            runs/log-metric, one value a call
 *     bench_load HOST PORT CLIENTS SECONDS batch RUN...             runs/log-batch, 1,000 values of 10 keys a call
 *     bench_load HOST PORT CLIENTS SECONDS words RUN...             a tag, a param, a tag, ... one a call, 10 keys of each a client
 *     bench_load HOST PORT CLIENTS SECONDS mixed RUN...             runs/log-batch, 2 tags, a param and 5 values a call
 *     bench_load HOST PORT CLIENTS SECONDS send METHOD PATH [BODY]  the same request again and again
 *     bench_load HOST PORT CLIENTS SECONDS fill RUNS                makes so many runs with 5 tags, 5 params and 5 metrics each
 *     bench_load HOST PORT CLIENTS SECONDS series POINTS RUN...     so many points of one key for each run, 1,000 a call
 *
 * Every call of metric and batch stores new points, and every tag a new value; the last two end when all is done, or when the time is over.
 * Latencies are kept all, so percentiles are exact; "slices" holds the calls and the worst latency of each tenth of a second: a stall of
 * the server is seen as one. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "web/http/http_chunk.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
  CLIENTS_MAX = 1000,
  KEYS = 10,
  BATCH_POINTS = 1000,
  WORD_KEYS = 10,
  MIXED_KEYS = 5,
  SLICE_US = 100000,
  SLICES_MAX = 6000,
  PATIENCE_S = 120,
  READ_BYTES = 65536
};

enum work { WORK_METRIC, WORK_BATCH, WORK_WORDS, WORK_MIXED, WORK_SEND, WORK_FILL, WORK_SERIES };

struct client {
  int fd;
  struct buf out;
  size_t sent;
  int64_t begun_us;
  struct buf head; /* of the answer, until it is complete */
  bool in_body, is_chunked;
  int64_t left; /* of the body */
  struct http_chunk chunk;
  int status;
  char run[33]; /* fill: that was made and has nothing logged yet */
  int64_t words;
};

struct load {
  struct sockaddr_in address;
  enum work work;
  const char *method, *path, *body;
  char **runs;
  size_t run_count, client_count;
  struct client *clients;
  struct rng rng;
  int64_t started_us, until_us, step;
  int64_t total, begun; /* fill: runs; series: calls */
  int epoll;
  size_t busy;
  uint32_t *latencies;
  size_t latency_count, latency_cap;
  uint64_t bytes, refused;
  char complaint[300];
  struct {
    uint32_t calls, worst_us;
  } slices[SLICES_MAX];
};

static NORETURN void fail(const char *what, const char *why) {
  fprintf(stderr, "bench_load: %s%s%s\n", what, why ? ": " : "", why ? why : "");
  exit(1);
}

static int64_t now_us(void) {
  return clock_mono_us(&clock_system);
}

/* ---- requests ---- */

static void put_head(struct buf *out, const char *method, const char *path, size_t length) {
  buf_printf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", method, path,
             length);
}

static double chance(struct load *load) {
  return (double)rng_below(&load->rng, 1000000) / 1e6;
}

static const char *some_run(struct load *load) {
  return load->runs[rng_below(&load->rng, load->run_count)];
}

static void put_metric(struct load *load, struct buf *body) {
  buf_printf(body, "{\"run_id\":\"%s\",\"key\":\"loss\",\"value\":%.6f,\"timestamp\":1795287390000,\"step\":%lld}", some_run(load),
             chance(load), (long long)++load->step);
}

static bool is_param(const struct client *client) {
  return client->words % 2 == 0;
}

/* A run has one client, or several: the keys of each are its own, as those of a rank are, and a param has the value that it had. */
static void put_word(const struct load *load, struct client *client, struct buf *body) {
  long long rank = client - load->clients, n = client->words / 2, key = n % WORD_KEYS;
  const char *run = load->runs[(size_t)rank % load->run_count];
  if (is_param(client))
    buf_printf(body, "{\"run_id\":\"%s\",\"key\":\"rank_%lld/param_%lld\",\"value\":\"%lld\"}", run, rank, key, key * rank);
  else
    buf_printf(body, "{\"run_id\":\"%s\",\"key\":\"rank_%lld/tag_%lld\",\"value\":\"at %lld\"}", run, rank, key, n);
  client->words++;
}

/* Keys are as those of put_word(). */
static void put_mixed(struct load *load, struct client *client, struct buf *body) {
  long long rank = client - load->clients, n = client->words++, key = n % WORD_KEYS;
  buf_printf(body, "{\"run_id\":\"%s\",\"params\":[{\"key\":\"rank_%lld/param_%lld\",\"value\":\"%lld\"}],\"tags\":[",
             load->runs[(size_t)rank % load->run_count], rank, key, key * rank);
  buf_printf(body, "{\"key\":\"rank_%lld/tag_%lld\",\"value\":\"at %lld\"},{\"key\":\"rank_%lld/at\",\"value\":\"%lld\"}],\"metrics\":[",
             rank, key, n, rank, n);
  for (int i = 0; i < MIXED_KEYS; i++)
    buf_printf(body, "%s{\"key\":\"metric_%d\",\"value\":%.6f,\"timestamp\":1795287390000,\"step\":%lld}", i ? "," : "", i, chance(load),
               (long long)load->step);
  buf_puts(body, "]}");
  load->step++;
}

/* Digits are put by hand: the driver shares its processors with what it measures. */
static void put_digits(char *at, size_t digits, uint64_t value) {
  for (size_t i = digits; i-- > 0; value /= 10)
    at[i] = (char)('0' + value % 10);
}

static void put_batch(struct load *load, struct buf *body) {
  static const char form[] = "{\"key\":\"metric_K\",\"value\":0.VVVVVV,\"timestamp\":1795287390000,\"step\":1SSSSSSSSS},";
  static const size_t key_at = 15, value_at = 28, step_at = sizeof form - 1 - 11;
  buf_printf(body, "{\"run_id\":\"%s\",\"metrics\":[", some_run(load));
  for (int i = 0; i < BATCH_POINTS; i++) {
    char *at = buf_room(body, sizeof form - 1);
    if (!at)
      fail("out of memory", NULL);
    memcpy(at, form, sizeof form - 1);
    put_digits(at + key_at, 1, (uint64_t)i % KEYS);
    put_digits(at + value_at, 6, rng_below(&load->rng, 1000000));
    put_digits(at + step_at, 9, (uint64_t)(load->step + i / KEYS));
    buf_grew(body, sizeof form - 1);
  }
  load->step += BATCH_POINTS / KEYS;
  buf_cut(body, body->n - 1);
  buf_puts(body, "]}");
}

static void put_series(struct load *load, struct buf *body) {
  int64_t run = load->begun % (int64_t)load->run_count, first = load->begun / (int64_t)load->run_count * BATCH_POINTS;
  load->begun++;
  buf_printf(body, "{\"run_id\":\"%s\",\"metrics\":[", load->runs[run]);
  for (int i = 0; i < BATCH_POINTS; i++)
    buf_printf(body, "%s{\"key\":\"loss\",\"value\":%.6f,\"timestamp\":%lld,\"step\":%lld}", i ? "," : "", chance(load),
               (long long)(INT64_C(1795287390000) + (first + i) * 100), (long long)(first + i));
  buf_puts(body, "]}");
}

static void put_new_run(struct load *load, struct buf *body) {
  load->begun++;
  buf_printf(body, "{\"experiment_id\":\"0\",\"start_time\":%lld,\"tags\":[", (long long)(INT64_C(1795287390000) + load->begun * 1000));
  static const char *const keys[] = {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "team", "host"};
  static const char *const values[] = {"ada", "train.py", "LOCAL", "vision", "node-17"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++)
    buf_printf(body, "%s{\"key\":\"%s\",\"value\":\"%s\"}", i ? "," : "", keys[i], values[i]);
  buf_puts(body, "]}");
}

static void put_first_batch(struct load *load, const struct client *client, struct buf *body) {
  static const char *const rates[] = {"0.1", "0.01", "0.001", "0.0001"};
  static const char *const metrics[] = {"acc", "loss", "val_acc", "val_loss", "epoch_time"};
  buf_printf(body, "{\"run_id\":\"%s\",\"params\":[{\"key\":\"lr\",\"value\":\"%s\"}", client->run, rates[rng_below(&load->rng, 4)]);
  buf_printf(body, ",{\"key\":\"layers\",\"value\":\"%d\"},{\"key\":\"dropout\",\"value\":\"%.3f\"}", (int)rng_below(&load->rng, 12),
             chance(load));
  buf_puts(body, ",{\"key\":\"optimizer\",\"value\":\"adam\"},{\"key\":\"batch_size\",\"value\":\"64\"}],\"metrics\":[");
  for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
    buf_printf(body, "%s{\"key\":\"%s\",\"value\":%.6f,\"timestamp\":1795287390000,\"step\":1}", i ? "," : "", metrics[i], chance(load));
  buf_puts(body, "]}");
}

/* Fill and series have an end. */
static bool is_over(const struct load *load, const struct client *client) {
  bool has_end = load->work == WORK_FILL || load->work == WORK_SERIES;
  return now_us() >= load->until_us || (has_end && load->begun >= load->total && !client->run[0]);
}

static void put_body(struct load *load, struct client *client, struct buf *body) {
  switch (load->work) {
  case WORK_METRIC:
    put_metric(load, body);
    break;
  case WORK_BATCH:
    put_batch(load, body);
    break;
  case WORK_WORDS:
    put_word(load, client, body);
    break;
  case WORK_MIXED:
    put_mixed(load, client, body);
    break;
  case WORK_SEND:
    buf_puts(body, load->body);
    break;
  case WORK_FILL:
    if (client->run[0])
      put_first_batch(load, client, body);
    else
      put_new_run(load, body);
    break;
  case WORK_SERIES:
    put_series(load, body);
    break;
  }
}

static const char *path_of(const struct load *load, const struct client *client) {
  if (load->work == WORK_SEND)
    return load->path;
  if (load->work == WORK_METRIC)
    return "/api/2.0/mlflow/runs/log-metric";
  if (load->work == WORK_WORDS)
    return is_param(client) ? "/api/2.0/mlflow/runs/log-parameter" : "/api/2.0/mlflow/runs/set-tag";
  return load->work == WORK_FILL && !client->run[0] ? "/api/2.0/mlflow/runs/create" : "/api/2.0/mlflow/runs/log-batch";
}

static void put_request(struct load *load, struct client *client, struct buf *out) {
  AUTO_BUF struct buf body = BUF_INIT(16 * MIB);
  buf_reset(out);
  const char *path = path_of(load, client);
  put_body(load, client, &body);
  put_head(out, load->work == WORK_SEND ? load->method : "POST", path, body.n);
  buf_add_str(out, buf_str(&body));
  struct err err;
  if (!buf_ok(out, &err) || !buf_ok(&body, &err))
    fail(err.text, NULL);
}

/* ---- one client ---- */

static void watch(struct load *load, struct client *client, int how, uint32_t what) {
  struct epoll_event event = {.events = what, .data.ptr = client};
  if (epoll_ctl(load->epoll, how, client->fd, &event) != 0)
    fail("epoll_ctl", strerror(errno));
}

static void push(struct load *load, struct client *client) {
  while (client->sent < client->out.n) {
    ssize_t n = send(client->fd, client->out.p + client->sent, client->out.n - client->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      watch(load, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
      return;
    }
    if (n < 0)
      fail("the server closed a connection", strerror(errno));
    client->sent += (size_t)n;
  }
  watch(load, client, EPOLL_CTL_MOD, EPOLLIN);
}

static void next_request(struct load *load, struct client *client) {
  put_request(load, client, &client->out);
  client->sent = 0;
  client->begun_us = now_us();
  push(load, client);
}

static void open_client(struct load *load, struct client *client) {
  int on = 1;
  *client = (struct client){.out = BUF_INIT(16 * MIB), .head = BUF_INIT(64 * KIB)};
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&load->address, sizeof load->address) != 0)
    fail("cannot connect", strerror(errno));
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(client->fd, F_SETFL, O_NONBLOCK);
  watch(load, client, EPOLL_CTL_ADD, EPOLLIN);
  load->busy++;
  next_request(load, client);
}

/* ---- what was seen ---- */

static void note(struct load *load, int64_t begun_us) {
  int64_t now = now_us();
  uint32_t took = (uint32_t)MIN_OF(now - begun_us, (int64_t)UINT32_MAX);
  if (load->latency_count == load->latency_cap) {
    size_t cap = load->latency_cap ? load->latency_cap * 2 : 1 << 16;
    load->latencies = mem_resize(load->latencies, cap, sizeof *load->latencies);
    if (!load->latencies)
      fail("out of memory", NULL);
    load->latency_cap = cap;
  }
  load->latencies[load->latency_count++] = took;
  size_t slice = (size_t)((now - load->started_us) / SLICE_US);
  if (slice < SLICES_MAX) {
    load->slices[slice].calls++;
    load->slices[slice].worst_us = MAX_OF(load->slices[slice].worst_us, took);
  }
}

/* After a run was made: its id. After its batch: none, so that the next is made. Bodies of these answers are kept behind their heads. */
static void note_run(struct client *client) {
  static const char mark[] = "\"run_id\":";
  const char *at = client->run[0] ? NULL : memmem(client->head.p, client->head.n, mark, sizeof mark - 1);
  client->run[0] = 0;
  if (!at)
    return;
  const char *end = client->head.p + client->head.n;
  const char *id = memchr(at + sizeof mark - 1, '"', (size_t)(end - at) - (sizeof mark - 1));
  if (id && end - id > 33)
    snprintf(client->run, sizeof client->run, "%.32s", id + 1);
}

/* The answer is complete. */
static void answered(struct load *load, struct client *client) {
  note(load, client->begun_us);
  if (client->status / 100 != 2)
    load->refused++;
  client->in_body = false;
  if (load->work == WORK_FILL)
    note_run(client);
  buf_reset(&client->head);
  if (is_over(load, client))
    load->busy--;
  else
    next_request(load, client);
}

static void keep_complaint(struct load *load, const struct client *client, struct str bytes) {
  if (client->status / 100 != 2 && !load->complaint[0])
    snprintf(load->complaint, sizeof load->complaint, "%d %.*s", client->status, STR_ARG(str_slice(bytes, 0, 250)));
}

static void take_body(struct load *load, struct client *client, struct str bytes, bool is_first) {
  keep_complaint(load, client, bytes);
  if (load->work == WORK_FILL && !is_first)
    buf_add_str(&client->head, bytes);
  if (!client->is_chunked) {
    client->left -= (int64_t)bytes.n;
    if (client->left < 0)
      fail("more bytes came than the answer has", NULL);
    if (client->left == 0)
      answered(load, client);
    return;
  }
  enum http_chunk_result result;
  do {
    size_t used;
    struct str data;
    struct err err;
    result = http_chunk_decode(&client->chunk, bytes, &used, &data, &err);
    if (result == HTTP_CHUNK_BAD)
      fail(err.text, NULL);
    bytes = str_slice(bytes, used, bytes.n);
  } while (result == HTTP_CHUNK_DATA);
  if (result == HTTP_CHUNK_DONE)
    answered(load, client);
}

static struct str header(struct str head, struct str name) {
  struct str line;
  while (str_split(&head, '\n', &line)) {
    struct str key;
    if (str_split(&line, ':', &key) && str_eq_nocase(key, name))
      return str_trim(line);
  }
  return STR_NONE;
}

static void take_head(struct load *load, struct client *client, struct str bytes) {
  buf_add_str(&client->head, bytes);
  const char *end = client->head.n ? memmem(client->head.p, client->head.n, "\r\n\r\n", 4) : NULL;
  if (!end)
    return;
  size_t head_bytes = (size_t)(end - client->head.p) + 4;
  struct str head = str_n(client->head.p, head_bytes), rest = str_slice(buf_str(&client->head), head_bytes, client->head.n);
  int64_t status, length = 0;
  if (head.n < 12 || !str_to_i64(str_slice(head, 9, 12), &status))
    fail("the server speaks no HTTP", NULL);
  struct str given = header(head, STR("content-length"));
  client->status = (int)status;
  client->is_chunked = !given.p;
  client->chunk = (struct http_chunk){0};
  if (given.p && !str_to_i64(given, &length))
    fail("an answer has no length", NULL);
  client->left = length;
  client->in_body = true;
  take_body(load, client, rest, true);
}

static void receive(struct load *load, struct client *client) {
  static char bytes[READ_BYTES];
  ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    fail("the server closed a connection", n < 0 ? strerror(errno) : NULL);
  load->bytes += (uint64_t)n;
  if (client->in_body)
    take_body(load, client, str_n(bytes, (size_t)n), false);
  else
    take_head(load, client, str_n(bytes, (size_t)n));
}

static void run(struct load *load) {
  load->started_us = now_us();
  for (size_t i = 0; i < load->client_count; i++)
    open_client(load, &load->clients[i]);
  while (load->busy) {
    struct epoll_event events[64];
    int n = epoll_wait(load->epoll, events, 64, 1000);
    for (int i = 0; i < n; i++) {
      struct client *client = events[i].data.ptr;
      if (events[i].events & EPOLLOUT)
        push(load, client);
      if (events[i].events & ~(uint32_t)EPOLLOUT)
        receive(load, client);
    }
    if (now_us() > load->until_us + PATIENCE_S * 1000000LL)
      fail("the server does not answer", NULL);
  }
}

/* ---- the report ---- */

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double percentile(const struct load *load, double share) {
  size_t at = (size_t)(share * (double)load->latency_count);
  return (double)load->latencies[MIN_OF(at, load->latency_count - 1)] / 1000;
}

static void report(struct load *load) {
  double seconds = (double)(now_us() - load->started_us) / 1e6;
  if (!load->latency_count)
    fail("no call was answered", NULL);
  qsort(load->latencies, load->latency_count, sizeof *load->latencies, by_size);
  printf("{\"calls\":%zu,\"seconds\":%.3f,\"rate\":%.1f,\"bytes\":%llu,\"refused\":%llu,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
         "\"p999_ms\":%.3f,\"max_ms\":%.3f,\"slices\":[",
         load->latency_count, seconds, (double)load->latency_count / seconds, (unsigned long long)load->bytes,
         (unsigned long long)load->refused, percentile(load, 0.5), percentile(load, 0.9), percentile(load, 0.99), percentile(load, 0.999),
         percentile(load, 1));
  size_t slices = MIN_OF((size_t)(seconds * 1e6 / SLICE_US) + 1, (size_t)SLICES_MAX);
  for (size_t i = 0; i < slices; i++)
    printf("%s[%u,%.1f]", i ? "," : "", load->slices[i].calls, (double)load->slices[i].worst_us / 1000);
  printf("]}\n");
  if (load->refused)
    fail("calls were refused, the first", load->complaint);
}

/* ---- arguments ---- */

static int64_t number(const char *text, int64_t least, int64_t most) {
  int64_t value;
  if (!str_to_i64(str_of(text), &value) || value < least || value > most)
    fail("not a number that can be used here", text);
  return value;
}

static void read_work(struct load *load, int argc, char **argv) {
  const char *work = argv[5];
  if (strcmp(work, "send") == 0 && (argc == 8 || argc == 9)) {
    load->work = WORK_SEND;
    load->method = argv[6];
    load->path = argv[7];
    load->body = argc == 9 ? argv[8] : "";
    return;
  }
  if (strcmp(work, "fill") == 0 && argc == 7) {
    load->work = WORK_FILL;
    load->total = number(argv[6], 1, 100000000);
    return;
  }
  if (strcmp(work, "series") == 0 && argc >= 8) {
    load->work = WORK_SERIES;
    load->runs = argv + 7;
    load->run_count = (size_t)argc - 7;
    load->total = number(argv[6], BATCH_POINTS, INT64_C(1) << 40) / BATCH_POINTS * (int64_t)load->run_count;
    return;
  }
  static const struct {
    const char *name;
    enum work work;
  } works[] = {{"metric", WORK_METRIC}, {"batch", WORK_BATCH}, {"words", WORK_WORDS}, {"mixed", WORK_MIXED}};
  size_t i = 0;
  while (i < ARRAY_LEN(works) && strcmp(work, works[i].name) != 0)
    i++;
  if (i == ARRAY_LEN(works) || argc < 7)
    fail("unknown work, or what it needs is missing", work);
  load->work = works[i].work;
  load->runs = argv + 6;
  load->run_count = (size_t)argc - 6;
}

int main(int argc, char **argv) {
  if (argc < 7)
    fail(
        "usage: bench_load HOST PORT CLIENTS SECONDS metric|batch|words|mixed RUN..., send METHOD PATH [BODY], fill RUNS, or series POINTS RUN...",
        NULL);
  static struct load load;
  load.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[2], 1, 65535))};
  if (inet_pton(AF_INET, argv[1], &load.address.sin_addr) != 1)
    fail("not an IPv4 address", argv[1]);
  load.client_count = (size_t)number(argv[3], 1, CLIENTS_MAX);
  load.until_us = now_us() + number(argv[4], 1, 3600) * 1000000;
  read_work(&load, argc, argv);
  load.rng = rng_seeded((uint64_t)now_us());
  load.step = now_us() % 100000000; /* other calls have other steps */
  load.clients = mem_array(load.client_count, sizeof *load.clients);
  load.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (!load.clients || load.epoll < 0)
    fail("out of memory", NULL);
  run(&load);
  report(&load);
  for (size_t i = 0; i < load.client_count; i++) {
    buf_release(&load.clients[i].out);
    buf_release(&load.clients[i].head);
    close(load.clients[i].fd);
  }
  mem_free(load.clients);
  mem_free(load.latencies);
  return 0;
}
