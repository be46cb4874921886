#include "web/http/http_head.h"

enum char_class { IS_TOKEN = 1, IS_VALUE = 2, IS_TARGET = 4 };

/* Bit sets by class for ASCII; bytes from 0x80 up are of IS_VALUE only. */
static const uint8_t classes[256] = {
    ['\t'] = IS_VALUE,
    [' '] = IS_VALUE,
    ['"'] = IS_VALUE,
    ['#'] = IS_VALUE | IS_TOKEN,
    ['<'] = IS_VALUE,
    ['>'] = IS_VALUE,
    ['!'] = 7,
    ['$'] = 7,
    ['%'] = 7,
    ['&'] = 7,
    ['\''] = 7,
    ['*'] = 7,
    ['+'] = 7,
    ['-'] = 7,
    ['.'] = 7,
    ['^'] = 7,
    ['_'] = 7,
    ['`'] = 7,
    ['|'] = 7,
    ['~'] = 7,
    ['0' ... '9'] = 7,
    ['A' ... 'Z'] = 7,
    ['a' ... 'z'] = 7,
    ['('] = IS_VALUE | IS_TARGET,
    [')'] = IS_VALUE | IS_TARGET,
    [','] = IS_VALUE | IS_TARGET,
    ['/'] = IS_VALUE | IS_TARGET,
    [':'] = IS_VALUE | IS_TARGET,
    [';'] = IS_VALUE | IS_TARGET,
    ['='] = IS_VALUE | IS_TARGET,
    ['?'] = IS_VALUE | IS_TARGET,
    ['@'] = IS_VALUE | IS_TARGET,
    ['['] = IS_VALUE | IS_TARGET,
    [']'] = IS_VALUE | IS_TARGET,
    ['\\'] = IS_VALUE | IS_TARGET,
    ['{'] = IS_VALUE | IS_TARGET,
    ['}'] = IS_VALUE | IS_TARGET,
    [0x80 ... 0xff] = IS_VALUE,
};

static size_t span(struct str text, size_t from, enum char_class class) {
  while (from < text.n && (classes[(uint8_t)text.p[from]] & class))
    from++;
  return from;
}

bool http_is_token(struct str text) {
  return text.n && span(text, 0, IS_TOKEN) == text.n;
}

bool http_is_field_value(struct str text) {
  return span(text, 0, IS_VALUE) == text.n;
}

bool http_list_next(struct str *rest, struct str *ret_element) {
  struct str part;
  while (str_split(rest, ',', &part)) {
    *ret_element = str_trim(part);
    if (ret_element->n)
      return true;
  }
  return false;
}

enum http_head_result http_head_scan(struct str bytes, size_t *cursor, struct err *err) {
  size_t at = *cursor;
  if (at == 0 && bytes.n && (bytes.p[0] < 'A' || bytes.p[0] > 'Z')) {
    err_set(err, ERR_INVALID, "this is no HTTP request");
    return HTTP_HEAD_BAD;
  }
  size_t limit = MIN_OF(bytes.n, (size_t)HTTP_HEAD_MAX);
  while (at < limit) {
    const char *lf = memchr(bytes.p + at, '\n', limit - at);
    if (!lf) {
      at = limit;
      break;
    }
    at = (size_t)(lf - bytes.p) + 1;
    if (at < 2 || lf[-1] != '\r') {
      err_set(err, ERR_INVALID, "a line of the head ends without CR");
      return HTTP_HEAD_BAD;
    }
    if (at >= 4 && lf[-2] == '\n') {
      *cursor = at;
      return HTTP_HEAD_DONE;
    }
  }
  *cursor = at;
  if (at < HTTP_HEAD_MAX)
    return HTTP_HEAD_MORE;
  if (!memchr(bytes.p, '\n', HTTP_TARGET_MAX))
    err_set(err, ERR_URI_TOO_LONG, "the request line is longer than %d bytes", (int)HTTP_TARGET_MAX);
  else
    err_set(err, ERR_HEAD_TOO_LARGE, "the head is larger than %d bytes", (int)HTTP_HEAD_MAX);
  return HTTP_HEAD_BAD;
}

/* "http://host/path" or "https://host/path", for which the Host header does not count. */
static bool parse_absolute(struct str target, struct http_head *head, struct str *ret_rest) {
  static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
  for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
    if (!str_starts(target, schemes[i]))
      continue;
    struct str after = str_slice(target, schemes[i].n, target.n);
    size_t end = 0;
    while (end < after.n && after.p[end] != '/' && after.p[end] != '?')
      end++;
    *ret_rest = str_slice(after, end, after.n);
    return http_authority_parse(str_slice(after, 0, end), &head->host);
  }
  return false;
}

static bool parse_target(struct str target, struct http_head *head, struct err *err) {
  if (target.n > HTTP_TARGET_MAX)
    return err_set(err, ERR_URI_TOO_LONG, "the address is longer than %d bytes", (int)HTTP_TARGET_MAX);
  if (str_is(target, "*") && head->method == HTTP_OPTIONS) {
    head->path = target;
    return true;
  }
  if (target.n && target.p[0] != '/' && !parse_absolute(target, head, &target))
    return err_set(err, ERR_INVALID, "the address is neither a path nor an http URL");
  size_t mark = str_find(target, '?');
  if (mark != SIZE_MAX) {
    head->query = str_slice(target, mark + 1, target.n);
    target = str_slice(target, 0, mark);
  }
  head->path = target.n ? target : STR("/");
  return true;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* "METHOD SP target SP HTTP/1.x", without its CRLF. */
static bool parse_request_line(struct str line, struct http_head *head, struct err *err) {
  size_t method_end = span(line, 0, IS_TOKEN);
  size_t target_end = method_end < line.n ? span(line, method_end + 1, IS_TARGET) : line.n;
  if (method_end == 0 || target_end >= line.n || line.p[method_end] != ' ' || target_end == method_end + 1 || line.p[target_end] != ' ')
    return err_set(err, ERR_INVALID, "the request line is malformed");
  struct str version = str_slice(line, target_end + 1, line.n);
  if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 || !is_digit(version.p[5]) || version.p[6] != '.' || !is_digit(version.p[7]))
    return err_set(err, ERR_INVALID, "the request line is malformed");
  if (version.p[5] != '1' || version.p[7] > '1')
    return err_set(err, ERR_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  head->minor = (uint8_t)(version.p[7] - '0');
  if (!http_method_parse(str_slice(line, 0, method_end), &head->method))
    return err_set(err, ERR_UNSUPPORTED, "the method %.*s is not known", STR_ARG(str_slice(line, 0, MIN_OF(method_end, (size_t)20))));
  return parse_target(str_slice(line, method_end + 1, target_end), head, err);
}

/* What was seen of the headers that decide about framing. */
struct seen {
  bool host, length, coding, close, keep_alive, authority_in_target;
};

static bool on_host(struct str value, struct http_head *head, struct seen *seen, struct err *err) {
  if (seen->host)
    return err_set(err, ERR_INVALID, "there is more than one Host header");
  seen->host = true;
  struct http_authority host;
  if (!http_authority_parse(value, &host))
    return err_set(err, ERR_INVALID, "the Host header is malformed");
  if (!seen->authority_in_target)
    head->host = host;
  return true;
}

static bool on_length(struct str value, struct http_head *head, struct seen *seen, struct err *err) {
  if (seen->length)
    return err_set(err, ERR_INVALID, "there is more than one Content-Length");
  seen->length = true;
  if (!value.n || value.n > 18)
    return err_set(err, ERR_INVALID, "Content-Length is malformed");
  uint64_t length = 0;
  for (size_t i = 0; i < value.n; i++) {
    if (!is_digit(value.p[i]))
      return err_set(err, ERR_INVALID, "Content-Length is malformed");
    length = length * 10 + (uint64_t)(value.p[i] - '0');
  }
  head->length = length;
  return true;
}

static bool on_coding(struct str value, struct http_head *head, struct seen *seen, struct err *err) {
  if (seen->coding)
    return err_set(err, ERR_INVALID, "there is more than one Transfer-Encoding");
  seen->coding = true;
  if (head->minor == 0)
    return err_set(err, ERR_INVALID, "HTTP/1.0 knows no Transfer-Encoding");
  if (!str_eq_nocase(value, STR("chunked")))
    return err_set(err, ERR_UNSUPPORTED, "the only Transfer-Encoding understood is \"chunked\"");
  head->is_chunked = true;
  return true;
}

static bool on_connection(struct str value, struct http_head *head UNUSED, struct seen *seen, struct err *err UNUSED) {
  struct str option;
  while (http_list_next(&value, &option)) {
    seen->close |= str_eq_nocase(option, STR("close"));
    seen->keep_alive |= str_eq_nocase(option, STR("keep-alive"));
  }
  return true;
}

static bool on_expect(struct str value, struct http_head *head, struct seen *seen UNUSED, struct err *err) {
  if (head->minor == 0)
    return true;
  if (!str_eq_nocase(value, STR("100-continue")))
    return err_set(err, ERR_EXPECT, "the only expectation understood is \"100-continue\"");
  head->expects_continue = true;
  return true;
}

static const struct known_field {
  struct str name;
  bool (*on)(struct str value, struct http_head *head, struct seen *seen, struct err *err);
} known_fields[] = {
    {{"host", 4}, on_host},
    {{"content-length", 14}, on_length},
    {{"transfer-encoding", 17}, on_coding},
    {{"connection", 10}, on_connection},
    {{"expect", 6}, on_expect},
};

/* Parsers differ about tabs around the values that decide about framing: there they are part of the value, and so refused. */
static struct str trim_spaces(struct str text) {
  while (text.n && text.p[0] == ' ')
    text = str_slice(text, 1, text.n);
  while (text.n && text.p[text.n - 1] == ' ')
    text.n--;
  return text;
}

static bool parse_field(struct str line, struct http_head *head, struct seen *seen, struct err *err) {
  size_t colon = span(line, 0, IS_TOKEN);
  if (colon == 0 || colon >= line.n || line.p[colon] != ':')
    return err_set(err, ERR_INVALID, "a header line is malformed");
  struct http_field field = {str_slice(line, 0, colon), str_slice(line, colon + 1, line.n)};
  if (!http_is_field_value(field.value))
    return err_set(err, ERR_INVALID, "a header has a control character in its value");
  struct str strict_value = trim_spaces(field.value);
  field.value = str_trim(field.value);
  if (head->field_count == HTTP_FIELDS_MAX)
    return err_set(err, ERR_HEAD_TOO_LARGE, "there are more than %d headers", (int)HTTP_FIELDS_MAX);
  head->fields[head->field_count++] = field;
  for (size_t i = 0; i < ARRAY_LEN(known_fields); i++)
    if (field.name.n == known_fields[i].name.n && str_eq_nocase(field.name, known_fields[i].name))
      return known_fields[i].on(strict_value, head, seen, err);
  return true;
}

/* The headers together: does the body have one length, and is it said to whom the request goes? */
static bool conclude(struct http_head *head, const struct seen *seen, struct err *err) {
  if (seen->length && seen->coding)
    return err_set(err, ERR_INVALID, "Content-Length and Transfer-Encoding exclude each other");
  if (head->minor == 1 && !seen->host)
    return err_set(err, ERR_INVALID, "the Host header is missing");
  head->keep_alive = !seen->close && (head->minor == 1 || seen->keep_alive);
  return true;
}

bool http_head_parse(struct str bytes, struct http_head *head, struct err *err) {
  memset(head, 0, offsetof(struct http_head, fields));
  struct seen seen = {0};
  size_t at = 0;
  while (at < bytes.n) {
    const char *lf = memchr(bytes.p + at, '\n', bytes.n - at);
    size_t end = lf ? (size_t)(lf - bytes.p) : 0;
    if (end <= at || bytes.p[end - 1] != '\r')
      return err_set(err, ERR_INVALID, "a line of the head ends without CR");
    struct str line = str_slice(bytes, at, end - 1);
    if (at == 0) {
      if (!parse_request_line(line, head, err))
        return false;
      seen.authority_in_target = head->host.host.p != NULL;
    } else if (!line.n) {
      return end + 1 == bytes.n ? conclude(head, &seen, err) : err_set(err, ERR_INVALID, "the head goes on after its end");
    } else if (!parse_field(line, head, &seen, err)) {
      return false;
    }
    at = end + 1;
  }
  return err_set(err, ERR_INVALID, "the head has no end");
}
