/* A server with a handler for everything the tests of web/http/http_* want to see, on a loop of its own. */
#ifndef WINNOW_TESTS_HTTP_FIXTURE_H
#define WINNOW_TESTS_HTTP_FIXTURE_H

#include "tests/support/http_client.h"
#include "tests/support/temp_dir.h"
#include "web/http/http_reply.h"
#include "web/http/http_server.h"

enum { FIXTURE_BUFFER_MAX = 1000, FIXTURE_STREAM_MAX = 100 << 20, FIXTURE_LATER_MAX = 16 };

struct http_fixture {
  struct loop *loop;
  struct http_server *server;
  struct work_pool *disk; /* of one thread */
  uint16_t port;
  struct temp_dir dir;
  char file[160]; /* what GET /file sends */

  /* what happened */
  int sink_begins, sink_ends, sink_aborts, gone, gate_calls, gate_unrouted;
  enum err_code abort_code;
  uint64_t sink_bytes, sink_sum;
  int observed, last_status;
  uint64_t last_in, last_out;

  /* how to behave */
  bool sink_refuses, sink_pauses_at_begin, sink_answers_at_begin, sink_answers_later;
  uint64_t sink_pause_every; /* bytes; 0: never */
  uint64_t sink_fails_at;    /* bytes; 0: never */
  struct http_req *paused;   /* to be resumed by the test */

  struct http_req *later[FIXTURE_LATER_MAX]; /* requests of GET /later and paused sinks, not answered yet */
  size_t later_count;
  struct http_req *stream; /* of GET /stream */
  uint64_t stream_left, stream_written;
  size_t stream_peak; /* most bytes written without being told to wait */
};

/* `limits` may be NULL. */
void http_fixture_start(struct http_fixture *f, const struct http_limits *limits);
/* The same, but reports failure: for runs without memory. */
bool http_fixture_try_start(struct http_fixture *f, const struct http_limits *limits);
void http_fixture_stop(struct http_fixture *f);
/* Answers the oldest of the later ones with its number in the test. */
void http_fixture_answer_later(struct http_fixture *f, const char *text);
/* The byte at a position of what GET /stream, /big and the file have. */
char http_fixture_byte(uint64_t at);
void http_fixture_write_file(struct http_fixture *f, uint64_t size);

#endif
