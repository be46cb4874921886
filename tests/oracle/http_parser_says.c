#include "tests/oracle/http_parser_says.h"

#include <http_parser.h>

static int on_name(http_parser *parser, const char *at, size_t n) {
  (void)at;
  struct http_parser_says *says = parser->data;
  says->names += says->in_value || !says->names;
  says->in_value = false;
  says->name_bytes += n;
  return 0;
}

static int on_value(http_parser *parser, const char *at, size_t n) {
  struct http_parser_says *says = parser->data;
  says->in_value = true;
  while (n && (at[n - 1] == ' ' || at[n - 1] == '\t'))
    n--;
  says->value_bytes += n;
  return 0;
}

static int on_complete(http_parser *parser) {
  struct http_parser_says *says = parser->data;
  says->complete = true;
  says->chunked = parser->flags & F_CHUNKED;
  says->has_length = parser->flags & F_CONTENTLENGTH;
  says->length = parser->content_length;
  says->keep_alive = http_should_keep_alive(parser);
  says->minor = parser->http_minor;
  says->method = http_method_str((enum http_method)parser->method);
  return 1; /* the body is not looked at */
}

void http_parser_ask(const char *bytes, size_t n, struct http_parser_says *ret) {
  *ret = (struct http_parser_says){0};
  http_parser parser;
  http_parser_settings settings;
  http_parser_init(&parser, HTTP_REQUEST);
  http_parser_settings_init(&settings);
  parser.data = ret;
  settings.on_header_field = on_name;
  settings.on_header_value = on_value;
  settings.on_headers_complete = on_complete;
  ret->used = http_parser_execute(&parser, &settings, bytes, n);
  if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
    ret->error = http_errno_description(HTTP_PARSER_ERRNO(&parser));
}
