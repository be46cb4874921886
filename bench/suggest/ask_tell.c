/* Workers that ask and tell over HTTP, on connections that stay open. bench/suggest/run.py starts the service and calls this.
 *
 *   bench_ask_tell PORT SWEEP fill N             adds N finished trials of ten floats, a thousand in a request
 *   bench_ask_tell PORT SWEEP serial N [MS]      one worker asks, works MS milliseconds, tells, N times
 *   bench_ask_tell PORT SWEEP load W SECONDS [MS] W workers at once, each on a connection of its own; a trial takes MS on average
 *
 * Prints one line of JSON: latencies in microseconds, trials a second. Ends with 1 at the first answer that is not 200. */
#define WINNOW_ALLOW_NUMBERS /* answers of the service, fast */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

enum { PARAMS = 10, WORKERS_MAX = 1024, TIMES_MAX = 4 * 1024 * 1024, FILL_ROWS = 1000 };

struct times {
  double *us;
  size_t n;
};

enum step { STEP_ASK, STEP_WORK, STEP_TELL };

struct worker {
  int fd;
  enum step step;
  struct buf in;
  int64_t sent_ns, work_until_ns;
  char run[33];
  double value;
  bool has_asked;
};

struct bench {
  const char *sweep;
  struct sockaddr_in address;
  struct rng rng;
  struct times first_asks, asks, tells; /* the first of each worker come at once, and nobody could prepare for them */
  uint64_t told, wanted;                /* wanted 0: until `until_ns` */
  int64_t until_ns, work_ns;
  unsigned busy;
};

static _Noreturn void stop(const char *what, const char *text) {
  fprintf(stderr, "bench_ask_tell: %s: %s\n", what, text);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void note(struct times *times, int64_t since) {
  if (times->n < TIMES_MAX)
    times->us[times->n++] = (double)(now_ns() - since) / 1e3;
}

static int dial(const struct bench *b) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (fd < 0 || connect(fd, (const struct sockaddr *)&b->address, sizeof b->address) != 0)
    stop("connect", strerror(errno));
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
    stop("TCP_NODELAY", strerror(errno));
  return fd;
}

static void send_post(const struct bench *b, struct worker *w, const char *what, struct str body) {
  AUTO_BUF struct buf out = BUF_INIT(64 * MIB);
  buf_printf(&out,
             "POST /api/v1/sweeps/%s/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             b->sweep, what, ntohs(b->address.sin_port), body.n);
  buf_add_str(&out, body);
  if (out.fail)
    stop("request", "no memory");
  w->sent_ns = now_ns();
  w->in.n = 0;
  for (size_t at = 0; at < out.n;) {
    ssize_t n = send(w->fd, buf_text(&out) + at, out.n - at, MSG_NOSIGNAL);
    if (n <= 0)
      stop("send", strerror(errno));
    at += (size_t)n;
  }
}

/* The body once the answer is whole; NULL before. */
static const char *answer_body(struct worker *w) {
  const char *text = buf_text(&w->in), *end = strstr(text, "\r\n\r\n");
  if (!end)
    return NULL;
  if (strncmp(text, "HTTP/1.1 200", 12) != 0)
    stop("answer", text);
  const char *length = strcasestr(text, "content-length:");
  if (!length || length > end)
    stop("answer without a length", text);
  size_t size = (size_t)strtoull(length + 15, NULL, 10), head = (size_t)(end + 4 - text);
  return w->in.n >= head + size ? end + 4 : NULL;
}

static void receive(struct worker *w) {
  char block[65536];
  ssize_t n = recv(w->fd, block, sizeof block, 0);
  if (n <= 0)
    stop("receive", n ? strerror(errno) : "the service closed the connection");
  buf_add(&w->in, block, (size_t)n);
  if (w->in.fail)
    stop("answer", "too large");
}

static double value_of(const char *trial) {
  double sum = 0;
  for (int i = 0; i < PARAMS; i++) {
    char key[16];
    snprintf(key, sizeof key, "\"x%d\":", i);
    const char *at = strstr(trial, key);
    if (!at)
      stop("a trial without parameters", trial);
    double x = strtod(at + strlen(key), NULL) - 0.3;
    sum += x * x;
  }
  return sum;
}

/* ---- fill ---- */

static void add_row(struct buf *body, struct rng *rng) {
  double sum = 0;
  buf_puts(body, "{\"params\":{");
  for (int i = 0; i < PARAMS; i++) {
    double x = rng_f64(rng);
    sum += (x - 0.3) * (x - 0.3);
    buf_printf(body, "%s\"x%d\":%.17g", i ? "," : "", i, x);
  }
  buf_printf(body, "},\"value\":%.17g}", sum);
}

static void fill(struct bench *b, uint64_t n) {
  struct worker w = {.fd = dial(b), .in = BUF_INIT(256 * MIB)};
  int64_t start = now_ns();
  for (uint64_t done = 0; done < n;) {
    AUTO_BUF struct buf body = BUF_INIT(64 * MIB);
    uint64_t rows = MIN_OF(n - done, (uint64_t)FILL_ROWS);
    buf_puts(&body, "{\"trials\":[");
    for (uint64_t k = 0; k < rows; k++) {
      buf_puts(&body, k ? "," : "");
      add_row(&body, &b->rng);
    }
    buf_puts(&body, "]}");
    send_post(b, &w, "tell", buf_str(&body));
    while (!answer_body(&w))
      receive(&w);
    done += rows;
  }
  double s = (double)(now_ns() - start) / 1e9;
  printf("{\"trials\": %llu, \"seconds\": %.3f, \"trials_per_s\": %.0f}\n", (unsigned long long)n, s, (double)n / s);
  close(w.fd);
  buf_release(&w.in);
}

/* ---- asking and telling ---- */

static void ask(const struct bench *b, struct worker *w) {
  w->step = STEP_ASK;
  send_post(b, w, "ask", STR("{\"count\":1}"));
}

static void tell(const struct bench *b, struct worker *w) {
  char body[160];
  snprintf(body, sizeof body, "{\"trials\":[{\"run_id\":\"%s\",\"value\":%.17g}]}", w->run, w->value);
  w->step = STEP_TELL;
  send_post(b, w, "tell", str_of(body));
}

static void take_trial(struct bench *b, struct worker *w, const char *body) {
  const char *run = strstr(body, "\"run_id\":\"");
  note(w->has_asked ? &b->asks : &b->first_asks, w->sent_ns);
  w->has_asked = true;
  if (!run)
    stop("no trial", body);
  memcpy(w->run, run + 10, 32);
  w->value = value_of(body);
  w->step = STEP_WORK;
  w->work_until_ns = now_ns() + (int64_t)((double)b->work_ns * (0.5 + rng_f64(&b->rng)));
}

static void take_answer(struct bench *b, struct worker *w, const char *body) {
  if (w->step == STEP_ASK) {
    take_trial(b, w, body);
    if (!b->work_ns)
      tell(b, w);
    return;
  }
  note(&b->tells, w->sent_ns);
  b->told++;
  if (b->wanted ? b->told < b->wanted : now_ns() < b->until_ns)
    ask(b, w);
  else
    b->busy--;
}

/* Tells of those whose work is done; how long until the next, in milliseconds. */
static int finish_work(struct bench *b, struct worker *workers, unsigned count) {
  int64_t now = now_ns(), next = INT64_MAX;
  for (unsigned i = 0; i < count && b->work_ns; i++) {
    if (workers[i].step != STEP_WORK)
      continue;
    if (workers[i].work_until_ns <= now)
      tell(b, &workers[i]);
    else
      next = MIN_OF(next, workers[i].work_until_ns);
  }
  return next == INT64_MAX ? 60000 : (int)((next - now + 999999) / 1000000);
}

static void run(struct bench *b, unsigned count) {
  static struct worker workers[WORKERS_MAX];
  int epoll = epoll_create1(0);
  for (unsigned i = 0; i < count; i++) {
    workers[i] = (struct worker){.fd = dial(b), .in = BUF_INIT(MIB)};
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, workers[i].fd, &event) != 0)
      stop("epoll", strerror(errno));
  }
  int64_t start = now_ns();
  b->busy = count;
  for (unsigned i = 0; i < count; i++)
    ask(b, &workers[i]);
  while (b->busy) {
    struct epoll_event events[64];
    int n = epoll_wait(epoll, events, ARRAY_LEN(events), finish_work(b, workers, count));
    if (n == 0 && !b->work_ns)
      stop("wait", "no answer for a minute");
    for (int k = 0; k < n; k++) {
      struct worker *w = &workers[events[k].data.u32];
      receive(w);
      const char *body = answer_body(w);
      if (body)
        take_answer(b, w, body);
    }
  }
  double s = (double)(now_ns() - start) / 1e9;
  for (unsigned i = 0; i < count; i++) {
    close(workers[i].fd);
    buf_release(&workers[i].in);
  }
  close(epoll);
  printf("{\"workers\": %u, \"trials\": %llu, \"seconds\": %.3f, \"trials_per_s\": %.0f", count, (unsigned long long)b->told, s,
         (double)b->told / s);
}

static int by_number(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_times(const char *name, struct times *times) {
  if (!times->n)
    return;
  qsort(times->us, times->n, sizeof *times->us, by_number);
  printf(", \"%s_p50\": %.1f, \"%s_p99\": %.1f, \"%s_max\": %.1f", name, times->us[times->n / 2], name, times->us[times->n * 99 / 100],
         name, times->us[times->n - 1]);
}

int main(int argc, char **argv) {
  if (argc < 5)
    stop("usage", "bench_ask_tell PORT SWEEP fill|serial|load ...");
  static struct bench b;
  b = (struct bench){.sweep = argv[2], .rng = rng_seeded(1)};
  b.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10))};
  b.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  uint64_t n = strtoull(argv[4], NULL, 10);
  if (strcmp(argv[3], "fill") == 0) {
    fill(&b, n);
    return 0;
  }
  b.first_asks.us = mem_array(TIMES_MAX, sizeof(double));
  b.asks.us = mem_array(TIMES_MAX, sizeof(double));
  b.tells.us = mem_array(TIMES_MAX, sizeof(double));
  if (!b.first_asks.us || !b.asks.us || !b.tells.us)
    stop("memory", "none");
  bool load = strcmp(argv[3], "load") == 0;
  int at = load ? 6 : 5;
  b.work_ns = argc > at ? (int64_t)(strtod(argv[at], NULL) * 1e6) : 0;
  if (load && argc > 5 && n > 0 && n <= WORKERS_MAX)
    b.until_ns = now_ns() + (int64_t)(strtod(argv[5], NULL) * 1e9);
  else if (!load && n > 0)
    b.wanted = n;
  else
    stop("usage", "serial N [MS], or load WORKERS SECONDS [MS]");
  run(&b, load ? (unsigned)n : 1);
  print_times("first_ask", &b.first_asks);
  print_times("ask", &b.asks);
  print_times("tell", &b.tells);
  printf("}\n");
  mem_free(b.first_asks.us), mem_free(b.asks.us), mem_free(b.tells.us);
  return 0;
}
