#include "web/http/http_url.h"

static bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *set) {
  return c && strchr(set, c);
}

bool http_url_decode(struct str in, bool plus_is_space, char *out, size_t *ret_n) {
  size_t n = 0;
  for (size_t i = 0; i < in.n; i++) {
    char c = in.p[i];
    if (c == '%') {
      int high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
      int low = in.n - i > 2 ? hex_digit(in.p[i + 2]) : -1;
      if (high < 0 || low < 0)
        return false;
      c = (char)(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (!c)
      return false;
    out[n++] = c;
  }
  *ret_n = n;
  return true;
}

void http_url_encode(struct buf *out, struct str text, bool keep_slash) {
  static const char digits[] = "0123456789ABCDEF";
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (is_alnum(c) || is_one_of(c, "-._~") || (c == '/' && keep_slash)) {
      buf_putc(out, c);
    } else {
      buf_putc(out, '%');
      buf_putc(out, digits[(uint8_t)c >> 4]);
      buf_putc(out, digits[(uint8_t)c & 15]);
    }
  }
}

bool http_query_next(struct str *rest, struct str *ret_name, struct str *ret_value) {
  struct str pair;
  while (str_split(rest, '&', &pair)) {
    if (!pair.n)
      continue;
    size_t equals = str_find(pair, '=');
    *ret_name = str_slice(pair, 0, equals);
    *ret_value = equals == SIZE_MAX ? STR("") : str_slice(pair, equals + 1, pair.n);
    return true;
  }
  return false;
}

static bool parse_port(struct str text, uint16_t *ret) {
  uint64_t port;
  if (text.n > 5 || !text.n || text.p[0] == '+' || text.p[0] == '-' || !str_to_u64(text, &port) || port == 0 || port > UINT16_MAX)
    return false;
  *ret = (uint16_t)port;
  return true;
}

bool http_authority_parse(struct str text, struct http_authority *ret) {
  struct http_authority a = {0};
  struct str after;
  if (text.n && text.p[0] == '[') {
    size_t close = str_find(text, ']');
    if (close == SIZE_MAX || close == 1)
      return false;
    a.is_v6 = true;
    a.host = str_slice(text, 1, close);
    after = str_slice(text, close + 1, text.n);
    for (size_t i = 0; i < a.host.n; i++)
      if (hex_digit(a.host.p[i]) < 0 && !is_one_of(a.host.p[i], ":."))
        return false;
  } else {
    size_t colon = MIN_OF(str_find(text, ':'), text.n);
    a.host = str_slice(text, 0, colon);
    after = str_slice(text, colon, text.n);
    if (!a.host.n || a.host.n > 255)
      return false;
    for (size_t i = 0; i < a.host.n; i++)
      if (!is_alnum(a.host.p[i]) && !is_one_of(a.host.p[i], "-._~!$&'()*+,;="))
        return false;
  }
  if (after.n && (after.p[0] != ':' || !parse_port(str_slice(after, 1, after.n), &a.port)))
    return false;
  *ret = a;
  return true;
}
