#include "tests/oracle/http_oracle.h"

#include "tests/oracle/http_parser_says.h"

/* http-parser lets "Transfer-EncodingX" count as a Transfer-Encoding in part: about such heads it has nothing to say. */
static bool misleads_http_parser(const struct http_head *head) {
  const struct str name = STR("transfer-encoding");
  for (size_t i = 0; i < head->field_count; i++)
    if (head->fields[i].name.n > name.n && str_eq_nocase(str_slice(head->fields[i].name, 0, name.n), name))
      return true;
  return false;
}

const char *http_oracle_check(struct str bytes, const struct http_head *head) {
  struct http_parser_says says;
  if (misleads_http_parser(head))
    return NULL;
  http_parser_ask(bytes.p, bytes.n, &says);
  if (says.error)
    return says.error;
  if (!says.complete || says.used != bytes.n)
    return "another end of the head";
  size_t name_bytes = 0, value_bytes = 0;
  bool has_length = false;
  for (size_t i = 0; i < head->field_count; i++) {
    name_bytes += head->fields[i].name.n;
    value_bytes += head->fields[i].value.n;
    has_length |= str_eq_nocase(head->fields[i].name, STR("content-length"));
  }
  if (strcmp(http_method_name(head->method), says.method) != 0)
    return "another method";
  if (says.minor != head->minor)
    return "another version";
  if (says.chunked != head->is_chunked)
    return "chunked or not";
  if (says.has_length != has_length || (has_length && says.length != head->length))
    return "another length";
  if (says.names != head->field_count || says.name_bytes != name_bytes || says.value_bytes != value_bytes)
    return "other headers";
  /* Where a connection is kept by one of us only, the other one's next request would be lost, not misread; HTTP/1.0 with both options is
   * such a case, on purpose. */
  if (head->minor == 1 && says.keep_alive != head->keep_alive)
    return "another idea of keep-alive";
  return NULL;
}
