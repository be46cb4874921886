/* The answer of http-parser without its header, whose names clash with ours. */
#ifndef WINNOW_TESTS_HTTP_PARSER_SAYS_H
#define WINNOW_TESTS_HTTP_PARSER_SAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_parser_says {
  const char *error; /* NULL: none */
  size_t used;
  bool complete, chunked, has_length, keep_alive;
  int minor;
  uint64_t length;
  const char *method;
  size_t names, name_bytes, value_bytes;
  bool in_value; /* private */
};

void http_parser_ask(const char *bytes, size_t n, struct http_parser_says *ret);

#endif
