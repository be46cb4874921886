/* Connections: deadlines, limits, drain, Unix sockets, TLS, and what happens without descriptors or memory. */
#include <fcntl.h>
#include <netinet/in.h>
#define WINNOW_ALLOW_MALLOC /* what libevent allocates must not always fail with the rest, see spare_libevent */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/support/http_fixture.h"
#include "web/http/tls.h"

#define H "Host: x\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H "\r\n"

static struct http_fixture f;

static int teardown(void **unused UNUSED) {
  http_fixture_stop(&f);
  return 0;
}

static int setup(void **unused UNUSED) {
  http_fixture_start(&f, NULL);
  return 0;
}

static struct http_server_stats stats(void) {
  struct http_server_stats now;
  http_server_stats(f.server, &now);
  return now;
}

static bool no_connections(void *unused UNUSED) {
  return stats().connections == 0;
}

static bool one_later(void *unused UNUSED) {
  return f.later_count == 1;
}

/* ---- deadlines ---- */

/* Each deadline ends its phase; all the others are too long to be what ended it. */
static void test_deadlines(void **unused UNUSED) {
  static const int64_t forever = 1000000;
  static const struct http_limits patient = {.handshake_ms = forever,
                                             .head_ms = forever,
                                             .idle_ms = forever,
                                             .body_idle_ms = forever,
                                             .write_stall_ms = forever,
                                             .linger_ms = forever};
  static const struct {
    size_t deadline; /* offset in the limits */
    const char *sent;
    int status; /* 0: closed without a word */
  } cases[] = {
      {offsetof(struct http_limits, head_ms), "", 0},
      {offsetof(struct http_limits, head_ms), "GET /hel", 408},
      {offsetof(struct http_limits, body_idle_ms), "POST /echo HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabc", 408},
      {offsetof(struct http_limits, body_idle_ms), "PUT /sink HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabc", 408},
      {offsetof(struct http_limits, idle_ms), GET("/hello"), 200},
      {offsetof(struct http_limits, body_idle_ms), "POST /nothing HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabc", 404},
      {offsetof(struct http_limits, linger_ms), "GET / HTTP/1.1\n", 400},
      {offsetof(struct http_limits, write_stall_ms), GET("/big?n=20000000"), -1},
      {offsetof(struct http_limits, write_stall_ms), GET("/stream?n=20000000"), -1},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct http_limits limits = patient;
    int64_t brief = 60;
    memcpy((char *)&limits + cases[i].deadline, &brief, sizeof brief);
    if (cases[i].status == 408)
      limits.linger_ms = 10;
    http_fixture_start(&f, &limits);
    struct http_client client;
    struct http_answer answer;
    http_client_open(&client, f.loop, f.port);
    http_client_send(&client, str_of(cases[i].sent));
    if (cases[i].status > 0) {
      if (!http_client_answer(&client, false, &answer) || answer.status != cases[i].status)
        fail_msg("row %zu: %d", i, answer.status);
      http_answer_release(&answer);
    }
    if (cases[i].status >= 0) {
      assert_true(http_client_wait_eof(&client));
      assert_int_equal(client.in.n, 0);
    }
    http_client_wait(f.loop, no_connections, NULL);
    assert_int_equal(stats().requests_in_flight, 0);
    if (cases[i].sent[0] == 'P' && cases[i].sent[1] == 'U')
      assert_true(f.sink_aborts == 1 && f.abort_code == ERR_TIMEOUT);
    http_client_close(&client);
    http_fixture_stop(&f);
  }
}

/* A body that trickles, byte by byte, never idle for long. */
static void test_body_rate(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.body_idle_ms = 200, .body_rate = 1000000, .linger_ms = 10});
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 100000000\r\n\r\n");
  while (!client.in.n && !client.eof) {
    http_client_try_send(&client, STR("x"));
    http_client_receive(&client);
    struct timespec brief = {0, 2000000};
    nanosleep(&brief, NULL);
  }
  assert_true(str_starts(buf_str(&client.in), STR("HTTP/1.1 408 ")));
  http_client_close(&client);
  http_fixture_stop(&f);
}

/* No deadline runs while a handler or a paused sink takes its time. */
static void test_patience_with_handlers(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.head_ms = 40, .idle_ms = 40, .body_idle_ms = 40, .write_stall_ms = 40, .linger_ms = 40});
  struct http_client client, other;
  struct http_answer answer;
  f.sink_pauses_at_begin = true;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/later"));
  http_client_open(&other, f.loop, f.port);
  http_client_printf(&other, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
  int64_t start = clock_mono_ms(&clock_system);
  while (clock_mono_ms(&clock_system) - start < 300) {
    assert_false(http_client_receive(&client));
    assert_false(http_client_receive(&other));
    assert_false(client.eof || other.eof);
  }
  http_fixture_answer_later(&f, "well");
  assert_true(http_client_answer(&client, false, &answer));
  http_answer_release(&answer);
  struct http_req *req = f.paused;
  f.paused = NULL;
  http_req_resume_body(req);
  assert_true(http_client_answer(&other, false, &answer));
  assert_int_equal(answer.status, 200);
  http_answer_release(&answer);
  http_client_close(&client);
  http_client_close(&other);
  http_fixture_stop(&f);
}

/* ---- limits ---- */

static void test_requests_a_connection(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.requests = 3});
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  for (int i = 1; i <= 3; i++) {
    assert_int_equal(http_client_ask(&client, GET("/hello"), &answer), 200);
    assert_int_equal(http_answer_header(&answer, "Connection").p != NULL, i == 3);
    http_answer_release(&answer);
  }
  shutdown(client.fd, SHUT_WR);
  assert_true(http_client_wait_eof(&client));
  http_client_close(&client);
  http_fixture_stop(&f);
}

/* Whoever only keeps a connection open makes room for whoever asks. */
static void test_connection_limit(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.connections = 4});
  struct http_client idle[3], busy, late;
  struct http_answer answer;
  http_client_open(&busy, f.loop, f.port);
  http_client_printf(&busy, "%s", GET("/later"));
  for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
    http_client_open(&idle[i], f.loop, f.port);
    assert_int_equal(http_client_ask(&idle[i], GET("/hello"), &answer), 200);
    http_answer_release(&answer);
  }
  assert_int_equal(stats().connections, 4);
  http_client_open(&late, f.loop, f.port);
  assert_int_equal(http_client_ask(&late, GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  assert_true(stats().connections <= 4);
  assert_true(http_client_wait_eof(&idle[0]));
  http_fixture_answer_later(&f, "not cut");
  assert_true(http_client_answer(&busy, false, &answer));
  http_answer_release(&answer);
  http_client_close(&busy);
  http_client_close(&late);
  for (size_t i = 0; i < ARRAY_LEN(idle); i++)
    http_client_close(&idle[i]);
  http_fixture_stop(&f);
}

/* All busy: the next waits in the kernel's queue until one is done. */
static void test_waiting_for_a_connection(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.connections = 1});
  struct http_client busy, late;
  struct http_answer answer;
  http_client_open(&busy, f.loop, f.port);
  http_client_printf(&busy, "GET /later HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
  http_client_wait(f.loop, one_later, NULL);
  http_client_open(&late, f.loop, f.port);
  http_client_printf(&late, "%s", GET("/hello"));
  for (int i = 0; i < 100; i++)
    assert_false(http_client_receive(&late));
  http_fixture_answer_later(&f, "done");
  assert_true(http_client_answer(&busy, false, &answer));
  http_answer_release(&answer);
  assert_true(http_client_answer(&late, false, &answer));
  assert_int_equal(answer.status, 200);
  http_answer_release(&answer);
  http_client_close(&busy);
  http_client_close(&late);
  http_fixture_stop(&f);
}

static bool is_shed_or_paused(void *unused UNUSED) {
  return stats().shed > 0 || !stats().accepting;
}

static int count_open_descriptors(void) {
  int n = 0;
  for (int fd = 0; fd < 4096; fd++)
    n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

static bool descriptors_are_back(void *before) {
  return count_open_descriptors() == *(int *)before;
}

/* Out of descriptors: no spinning, no crash, and all goes on once there are some again. */
static void test_no_descriptors(void **unused UNUSED) {
  struct http_client clients[8], late;
  struct http_answer answer;
  int before = count_open_descriptors();
  for (size_t i = 0; i < ARRAY_LEN(clients); i++)
    http_client_open(&clients[i], f.loop, f.port); /* the kernel takes them; the server has not */
  struct rlimit old, tight;
  getrlimit(RLIMIT_NOFILE, &old);
  int highest = 0;
  for (int fd = 0; fd < 4096; fd++)
    if (fcntl(fd, F_GETFD) >= 0)
      highest = fd;
  tight = old;
  tight.rlim_cur = (rlim_t)highest + 1;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
  static int fill[4096]; /* the gaps */
  int filled = 0;
  while (filled < (int)ARRAY_LEN(fill) && (fill[filled] = dup(0)) >= 0)
    filled++;
  http_client_wait(f.loop, is_shed_or_paused, NULL);
  assert_int_equal(stats().connections, 0);
  assert_int_equal(stats().shed, 1);
  assert_true(http_client_wait_eof(&clients[0])); /* one was told */
  assert_true(str_starts(buf_str(&clients[0].in), STR("HTTP/1.1 503 ")));
  while (filled)
    close(fill[--filled]);
  setrlimit(RLIMIT_NOFILE, &old);
  for (size_t i = 1; i < ARRAY_LEN(clients); i++) {
    int status = http_client_ask(&clients[i], GET("/hello"), &answer);
    http_answer_release(&answer);
    if (status == 0) /* told so before there were descriptors again */
      continue;
    assert_true(status == 200 || status == 503);
  }
  http_client_open(&late, f.loop, f.port);
  assert_int_equal(http_client_ask(&late, GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  http_client_close(&late);
  for (size_t i = 0; i < ARRAY_LEN(clients); i++)
    http_client_close(&clients[i]);
  http_client_wait(f.loop, descriptors_are_back, &before);
}

/* ---- drain ---- */

static void set_flag(void *ctx) {
  *(bool *)ctx = true;
}

static bool is_set(void *ctx) {
  return *(bool *)ctx;
}

static bool can_connect(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
  close(fd);
  return ok;
}

static void test_drain(void **unused UNUSED) {
  struct http_client idle, busy, sending;
  struct http_answer answer;
  bool drained = false;
  http_client_open(&idle, f.loop, f.port);
  assert_int_equal(http_client_ask(&idle, GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  http_client_open(&busy, f.loop, f.port);
  http_client_printf(&busy, "%s", GET("/later"));
  http_client_open(&sending, f.loop, f.port);
  http_client_printf(&sending, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nabc");
  http_client_wait(f.loop, one_later, NULL);
  while (f.sink_bytes < 3)
    loop_turn(f.loop, false);
  http_server_drain(f.server, 1000000, set_flag, &drained);
  assert_true(http_client_wait_eof(&idle));
  assert_false(can_connect(f.port));
  assert_int_equal(http_client_ask(&sending, "def", &answer), 200);
  assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
  http_answer_release(&answer);
  assert_false(drained);
  http_fixture_answer_later(&f, "last words");
  assert_true(http_client_answer(&busy, false, &answer));
  assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
  assert_string_equal(buf_text(&answer.body), "last words");
  http_answer_release(&answer);
  http_client_close(&busy);
  http_client_close(&sending);
  http_client_wait(f.loop, is_set, &drained);
  http_client_close(&idle);
}

static void test_drain_deadline(void **unused UNUSED) {
  struct http_client client;
  bool drained = false;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/later"));
  http_client_wait(f.loop, one_later, NULL);
  http_server_drain(f.server, 50, set_flag, &drained);
  http_client_wait(f.loop, is_set, &drained);
  assert_true(http_client_wait_eof(&client));
  assert_int_equal(f.gone, 1);
  assert_int_equal(f.later_count, 1); /* still its handler's, which answers when it likes: in http_fixture_stop() */
  http_client_close(&client);
}

static void test_free_with_everything_open(void **unused UNUSED) {
  struct http_client clients[4];
  static const char *const sent[] = {GET("/later"), GET("/stream?n=1&hold"), "PUT /sink HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nabc",
                                     "GET /he"};
  for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
    http_client_open(&clients[i], f.loop, f.port);
    http_client_send(&clients[i], str_of(sent[i]));
  }
  while (!f.stream || f.sink_bytes < 3 || !f.later_count)
    loop_turn(f.loop, false);
  teardown(NULL); /* the sanitizer looks for what is left */
  for (size_t i = 0; i < ARRAY_LEN(clients); i++)
    http_client_close(&clients[i]);
  setup(NULL);
}

/* ---- Unix sockets ---- */

static void test_unix_socket(void **unused UNUSED) {
  char path[160], expected[64];
  struct err err;
  struct stat st;
  struct http_client client;
  struct http_answer answer;
  snprintf(path, sizeof path, "%s/sock", f.dir.path);
  mode_t mask = umask(0);
  assert_true(http_server_listen_unix(f.server, path, &err));
  umask(mask);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  http_client_open_unix(&client, f.loop, path);
  assert_int_equal(http_client_ask(&client, GET("/show/x"), &answer), 200);
  snprintf(expected, sizeof expected, "peer=1 tls=0 uid=%u", (unsigned)getuid());
  assert_non_null(strstr(buf_text(&answer.body), expected));
  http_answer_release(&answer);
  http_client_close(&client);
  /* in use */
  assert_false(http_server_listen_unix(f.server, path, &err));
  assert_int_equal(err.code, ERR_EXISTS);
  /* something else than a socket */
  char plain[200];
  snprintf(plain, sizeof plain, "%s/plain", f.dir.path);
  fclose(fopen(plain, "w"));
  assert_false(http_server_listen_unix(f.server, plain, &err));
  assert_int_equal(stat(plain, &st), 0);
  /* left behind by the dead */
  char dead[200];
  snprintf(dead, sizeof dead, "%s/dead", f.dir.path);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", dead);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  close(fd);
  assert_true(http_server_listen_unix(f.server, dead, &err));
  /* too long */
  char longer[200];
  memset(longer, 'x', sizeof longer);
  longer[sizeof longer - 1] = 0;
  assert_false(http_server_listen_unix(f.server, longer, &err));
  bool drained = false;
  http_server_drain(f.server, 1000, set_flag, &drained);
  assert_int_equal(stat(path, &st), -1); /* taken away with the listener */
  http_client_wait(f.loop, is_set, &drained);
}

static void test_addresses(void **unused UNUSED) {
  struct err err;
  uint16_t port;
  assert_true(http_server_listen_tcp(f.server, "localhost", 0, NULL, &port, &err));
  assert_true(port != 0 && can_connect(port));
  assert_false(http_server_listen_tcp(f.server, "127.0.0.1", port, NULL, NULL, &err));
  assert_false(http_server_listen_tcp(f.server, "no.such.host.example", 0, NULL, NULL, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_true(err.hint[0] != 0);
}

/* ---- TLS ---- */

static void make_certificate(const char *name, const char *cert_file, const char *key_file) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), 0);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
  FILE *file = fopen(cert_file, "w");
  assert_int_equal(PEM_write_X509(file, cert), 1);
  fclose(file);
  file = fopen(key_file, "w");
  assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
  fclose(file);
  X509_free(cert);
  EVP_PKEY_free(key);
}

static void assert_server_name(struct http_client *client, const char *name) {
  X509 *cert = SSL_get1_peer_certificate(client->ssl);
  char seen[64] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, seen, sizeof seen);
  X509_free(cert);
  assert_string_equal(seen, name);
}

static void test_tls(void **unused UNUSED) {
  int descriptors = count_open_descriptors() + 1; /* and a listener */
  char cert[160], key[160];
  struct err err;
  uint16_t port;
  struct http_client client, later, plain;
  struct http_answer answer;
  snprintf(cert, sizeof cert, "%s/cert", f.dir.path);
  snprintf(key, sizeof key, "%s/key", f.dir.path);
  assert_null(tls_new(cert, key, &err));
  make_certificate("first", cert, key);
  struct tls *tls = tls_new(cert, key, &err);
  assert_non_null(tls);
  assert_true(http_server_listen_tcp(f.server, "127.0.0.1", 0, tls, &port, &err));
  http_fixture_write_file(&f, 3000000);

  http_client_open(&client, f.loop, port);
  assert_true(http_client_start_tls(&client));
  assert_server_name(&client, "first");
  assert_int_equal(http_client_ask(&client, GET("/show/x"), &answer), 200);
  assert_non_null(strstr(buf_text(&answer.body), "tls=1"));
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, GET("/file"), &answer), 200);
  assert_int_equal(answer.body.n, 3000000);
  for (size_t i = 0; i < 3000000; i++)
    if (answer.body.p[i] != http_fixture_byte(i))
      fail_msg("byte %zu differs", i);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, GET("/stream?n=2000000"), &answer), 200);
  assert_int_equal(answer.body.n, 2000000);
  http_answer_release(&answer);
  AUTO_BUF struct buf upload = BUF_INIT(4 << 20);
  buf_puts(&upload, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 2000000\r\n\r\n");
  for (int i = 0; i < 2000000; i++)
    buf_putc(&upload, 'u');
  assert_int_equal(http_client_ask(&client, buf_text(&upload), &answer), 200);
  assert_string_equal(buf_text(&answer.body), "2000000");
  http_answer_release(&answer);

  /* a failed reload changes nothing, a good one is for new connections */
  fclose(fopen(cert, "w"));
  assert_false(tls_reload(tls, &err));
  make_certificate("second", cert, key);
  assert_true(tls_reload(tls, &err));
  http_client_open(&later, f.loop, port);
  assert_true(http_client_start_tls(&later));
  assert_server_name(&later, "second");
  assert_int_equal(http_client_ask(&later, GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, GET("/hello"), &answer), 200);
  http_answer_release(&answer);

  /* plain HTTP on the TLS port ends in a handshake that fails */
  http_client_open(&plain, f.loop, port);
  http_client_printf(&plain, "%s", GET("/hello"));
  assert_true(http_client_wait_eof(&plain));
  assert_null(strstr(buf_text(&plain.in), "HTTP/1.1 200"));

  /* an error: the answer arrives, then the end */
  http_client_printf(&client, "GET / HTTP/1.1\nA");
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 400);
  http_answer_release(&answer);
  assert_true(http_client_wait_eof(&client));
  http_client_close(&client);
  http_client_close(&later);
  http_client_close(&plain);
  http_client_wait(f.loop, descriptors_are_back, &descriptors);
  tls_free(tls);
}

static void test_handshake_deadline(void **unused UNUSED) {
  http_fixture_start(&f, &(struct http_limits){.handshake_ms = 50});
  char cert[160], key[160];
  struct err err;
  uint16_t port;
  struct http_client client;
  snprintf(cert, sizeof cert, "%s/cert", f.dir.path);
  snprintf(key, sizeof key, "%s/key", f.dir.path);
  make_certificate("x", cert, key);
  struct tls *tls = tls_new(cert, key, &err);
  assert_true(http_server_listen_tcp(f.server, "127.0.0.1", 0, tls, &port, &err));
  http_client_open(&client, f.loop, port);
  http_client_send(&client, STR("\x16\x03\x01"));
  assert_true(http_client_wait_eof(&client));
  http_client_close(&client);
  http_fixture_stop(&f);
  tls_free(tls);
}

/* ---- memory ---- */

#ifdef __SANITIZE_ADDRESS__
enum { GROWTH_MAX = 400 << 20 }; /* the sanitizer keeps what was freed */
#else
enum { GROWTH_MAX = 8 << 20 };
#endif

/* 64 MiB each way; what passes through is never held. */
static void test_large_bodies(void **unused UNUSED) {
  enum { SIZE = 64 << 20 };
  http_fixture_write_file(&f, SIZE);
  struct http_client client;
  static char piece[1 << 18];
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n", (int)SIZE);
  size_t before = mem_resident();
  for (size_t i = 0; i < SIZE / sizeof piece; i++)
    http_client_send(&client, str_n(piece, sizeof piece));
  struct http_answer answer;
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "67108864");
  http_answer_release(&answer);
  assert_true(mem_resident() < before + GROWTH_MAX);
  static const char *const downloads[] = {GET("/file"), GET("/stream?n=67108864")};
  for (size_t i = 0; i < ARRAY_LEN(downloads); i++) {
    http_client_send(&client, str_of(downloads[i]));
    size_t body = 0;
    while (body < SIZE) {
      http_client_receive(&client);
      assert_false(client.eof);
      body += client.in.n;
      buf_reset(&client.in);
    }
    assert_true(mem_resident() < before + GROWTH_MAX);
    http_client_close(&client);
    http_client_open(&client, f.loop, f.port);
  }
  http_client_close(&client);
}

/* libevent 2.1 crashes by itself when a TLS bufferevent cannot be allocated. */
static bool spare_libevent;

static void *event_alloc(size_t size) {
  return spare_libevent ? malloc(size) : mem_alloc(size);
}

static void *event_resize(void *ptr, size_t size) {
  return spare_libevent ? realloc(ptr, size) : mem_resize(ptr, size, 1);
}

static void take_what_comes(struct http_client *client) {
  for (int turns = 0; turns < 30; turns++) {
    char thrown_away[65536];
    loop_turn(f.loop, false);
    (void)!recv(client->fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
    if (f.later_count)
      http_fixture_answer_later(&f, "x");
  }
}

/* One story that comes by most of the code; the answers do not matter, only that nothing breaks. */
static void one_story(struct tls *tls) {
  uint16_t tls_port = 0;
  struct err err;
  if (!http_fixture_try_start(&f, NULL))
    return;
  spare_libevent = true;
  if (http_server_listen_tcp(f.server, "127.0.0.1", 0, tls, &tls_port, &err)) {
    struct http_client client;
    http_client_open(&client, f.loop, tls_port);
    http_client_send(&client, STR("this is no handshake"));
    take_what_comes(&client);
    http_client_close(&client);
  }
  spare_libevent = false;
  static const char *const requests[] = {
      "POST /echo?a=%41 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "GET /big?n=5000 HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\n\r\n",
      "GET /show/%41?q=%42 HTTP/1.1\r\n" H "\r\n",
      "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
      GET("/stream?n=300000"),
      GET("/nothing"),
      GET("/later"),
      "GET / HTTP/1.1\nbad",
  };
  for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
    struct http_client client;
    http_client_open(&client, f.loop, f.port);
    http_client_send(&client, str_of(requests[i]));
    shutdown(client.fd, SHUT_WR);
    take_what_comes(&client);
    http_client_close(&client);
    loop_turn(f.loop, false);
  }
  http_fixture_stop(&f);
}

/* Every allocation of the story fails once, then from there on. */
static void test_no_memory(void **unused UNUSED) {
  struct temp_dir dir;
  char cert[160], key[160];
  struct err err;
  temp_dir_make(&dir);
  snprintf(cert, sizeof cert, "%s/cert", dir.path);
  snprintf(key, sizeof key, "%s/key", dir.path);
  make_certificate("x", cert, key);
  struct tls *tls = tls_new(cert, key, &err);
  temp_dir_remove(&dir);
  for (int sticky = 0; sticky < 2; sticky++) {
    mem_fail_at(0, false);
    one_story(tls);
    unsigned long count = mem_fail_at(0, false);
    assert_true(count > 50);
    for (unsigned long n = 1; n <= count; n += sticky ? 7 : 1) {
      mem_fail_at(n, sticky);
      one_story(tls);
    }
  }
  mem_fail_at(0, false);
  tls_free(tls);
}

int main(void) {
  event_set_mem_functions(event_alloc, event_resize, mem_free); /* so that its allocations fail as well as ours */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_deadlines),
      cmocka_unit_test(test_body_rate),
      cmocka_unit_test(test_patience_with_handlers),
      cmocka_unit_test(test_requests_a_connection),
      cmocka_unit_test(test_connection_limit),
      cmocka_unit_test(test_waiting_for_a_connection),
      TEST(test_no_descriptors),
      TEST(test_drain),
      TEST(test_drain_deadline),
      TEST(test_free_with_everything_open),
      TEST(test_unix_socket),
      TEST(test_addresses),
      TEST(test_tls),
      cmocka_unit_test(test_handshake_deadline),
      TEST(test_large_bodies),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
