/* Files that are not in memory: the loop does not wait for the disk. */
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/http_fixture.h"
#include "tests/support/test.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

enum { SIZE = 5000000, HEAD_MAX = 1000 };

static struct http_fixture f;

static int setup(void **unused UNUSED) {
  http_fixture_start(&f, NULL);
  return 0;
}

static int teardown(void **unused UNUSED) {
  http_fixture_stop(&f);
  return 0;
}

/* The only thread of the pool waits. */
static struct gate {
  struct work work;
  sem_t open;
  bool passed;
} gate;

static void wait_at_gate(struct work *work UNUSED) {
  while (sem_wait(&gate.open) != 0)
    ;
}

static void on_passed(struct work *work UNUSED, bool cancelled UNUSED) {
  gate.passed = true;
}

static void close_gate(void) {
  struct err err;
  gate = (struct gate){.work = {.run = wait_at_gate, .done = on_passed}};
  sem_init(&gate.open, 0, 0);
  assert_true(work_submit(f.disk, &gate.work, &err));
}

static void open_gate(void) {
  sem_post(&gate.open);
}

static bool has_passed(void *unused UNUSED) {
  return gate.passed;
}

/* False where the kernel keeps it in memory all the same: a file system without a disk, say. */
static bool write_cold_file(void) {
  unsigned char page;
  http_fixture_write_file(&f, SIZE);
  int fd = open(f.file, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  void *map = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
  assert_true(map != MAP_FAILED && mincore(map, 1, &page) == 0);
  munmap(map, 1);
  close(fd);
  return !(page & 1);
}

static void assert_whole(struct http_client *client) {
  struct http_answer answer;
  assert_true(http_client_answer(client, false, &answer));
  assert_int_equal(answer.status, 200);
  assert_int_equal(answer.body.n, SIZE);
  for (size_t i = 0; i < SIZE; i++)
    if (answer.body.p[i] != http_fixture_byte(i))
      fail_msg("byte %zu", i);
  http_answer_release(&answer);
}

static void begin(struct http_client *client) {
  http_client_open(client, f.loop, f.port);
  http_client_printf(client, "%s", GET("/file"));
}

static void others_are_answered(int times) {
  struct http_client other;
  http_client_open(&other, f.loop, f.port);
  for (int i = 0; i < times; i++) {
    struct http_answer answer;
    assert_int_equal(http_client_ask(&other, GET("/hello"), &answer), 200);
    http_answer_release(&answer);
  }
  http_client_close(&other);
}

static void a_file_that_is_to_be_read_first(void **unused UNUSED) {
  struct http_client client;
  if (!write_cold_file())
    skip();
  close_gate();
  begin(&client);
  others_are_answered(100);
  while (http_client_receive(&client))
    ;
  assert_true(client.in.n > 0 && client.in.n < HEAD_MAX); /* the head, and nothing of the file */
  open_gate();
  assert_whole(&client);
  http_client_close(&client);
}

/* Of which the kernel would say that all of it is in memory. */
static void a_file_of_somebody_else(void **unused UNUSED) {
  enum { NOBODY = 65534 };
  struct http_client client;
  if (geteuid() != 0 || !write_cold_file())
    skip();
  char directory[4096];
  snprintf(directory, sizeof directory, "%s", f.file);
  *strrchr(directory, '/') = 0;
  assert_true(chmod(directory, 0755) == 0 && chmod(f.file, 0644) == 0 && seteuid(NOBODY) == 0);
  close_gate();
  begin(&client);
  others_are_answered(20);
  while (http_client_receive(&client))
    ;
  bool sent = client.in.n >= HEAD_MAX;
  open_gate();
  assert_int_equal(seteuid(0), 0);
  assert_false(sent);
  assert_whole(&client);
  http_client_close(&client);
}

static void a_file_in_memory_waits_for_no_thread(void **unused UNUSED) {
  struct http_client client;
  http_fixture_write_file(&f, SIZE);
  close_gate();
  begin(&client);
  assert_whole(&client);
  http_client_close(&client);
  open_gate();
}

static void a_client_that_leaves_meanwhile(void **unused UNUSED) {
  struct http_client client;
  struct http_server_stats stats;
  if (!write_cold_file())
    skip();
  close_gate();
  begin(&client);
  others_are_answered(20);
  http_client_close(&client);
  do {
    others_are_answered(1);
    http_server_stats(f.server, &stats);
  } while (stats.requests_in_flight);
  open_gate();
  http_client_wait(f.loop, has_passed, NULL);
  others_are_answered(20); /* what was read for it is told to nobody */
}

/* The pool is full, or stopped: the loop reads, as it must. */
static void no_thread_to_read_it(void **unused UNUSED) {
  struct http_client client;
  (void)write_cold_file();
  work_pool_stop(f.disk);
  begin(&client);
  assert_whole(&client);
  http_client_close(&client);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_file_that_is_to_be_read_first), TEST(a_file_of_somebody_else), TEST(a_file_in_memory_waits_for_no_thread),
      TEST(a_client_that_leaves_meanwhile),  TEST(no_thread_to_read_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
