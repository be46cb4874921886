#include "cli/sse.h"

enum { SSE_MAX_ID = 1024, SSE_MAX_RETRY_MS = 60000 };

void sse_init(struct sse_parser *parser) {
  *parser = (struct sse_parser){.retry_ms = -1};
  buf_init(&parser->line, SSE_MAX_EVENT);
  buf_init(&parser->data, SSE_MAX_EVENT);
  buf_init(&parser->type, SSE_MAX_ID);
  buf_init(&parser->id, SSE_MAX_ID);
  buf_init(&parser->new_id, SSE_MAX_ID);
}

void sse_release(struct sse_parser *parser) {
  buf_release(&parser->line);
  buf_release(&parser->data);
  buf_release(&parser->type);
  buf_release(&parser->id);
  buf_release(&parser->new_id);
}

static void clear_event(struct sse_parser *parser) {
  buf_reset(&parser->data);
  buf_reset(&parser->type);
  parser->has_data = false;
}

void sse_reconnect(struct sse_parser *parser) {
  clear_event(parser);
  buf_reset(&parser->line);
  buf_reset(&parser->new_id);
  buf_add_str(&parser->new_id, buf_str(&parser->id));
  parser->after_cr = parser->begun = parser->stopped = false;
}

struct str sse_last_id(const struct sse_parser *parser) {
  return buf_str(&parser->id);
}

static void take_field(struct sse_parser *parser, struct str name, struct str value) {
  int64_t retry;
  if (str_is(name, "data")) {
    if (parser->has_data)
      buf_putc(&parser->data, '\n');
    buf_add_str(&parser->data, value);
    parser->has_data = true;
  } else if (str_is(name, "event")) {
    buf_reset(&parser->type);
    buf_add_str(&parser->type, value);
  } else if (str_is(name, "id") && (!value.n || !memchr(value.p, 0, value.n))) {
    buf_reset(&parser->new_id);
    buf_add_str(&parser->new_id, value);
  } else if (str_is(name, "retry") && value.n && value.p[0] >= '0' && value.p[0] <= '9' && str_to_i64(value, &retry)) {
    parser->retry_ms = MIN_OF(retry, SSE_MAX_RETRY_MS);
  }
}

/* An empty line ends the event. The id counts from then on: half an event is asked for again. */
static void finish_event(struct sse_parser *parser, sse_fn *fn, void *ctx) {
  buf_reset(&parser->id);
  buf_add_str(&parser->id, buf_str(&parser->new_id));
  if (parser->has_data) {
    struct sse_event event = {buf_str(&parser->type), buf_str(&parser->data), buf_str(&parser->id)};
    if (!event.type.n)
      event.type = STR("message");
    parser->stopped = !fn(ctx, &event);
  }
  clear_event(parser);
}

static void take_line(struct sse_parser *parser, sse_fn *fn, void *ctx) {
  struct str line = buf_str(&parser->line);
  if (!parser->begun && str_starts(line, STR("\xEF\xBB\xBF")))
    line = str_slice(line, 3, line.n);
  parser->begun = true;
  if (!line.n) {
    finish_event(parser, fn, ctx);
  } else if (line.p[0] != ':') {
    size_t colon = str_find(line, ':');
    struct str value = colon == SIZE_MAX ? STR("") : str_slice(line, colon + 1, line.n);
    if (value.n && value.p[0] == ' ')
      value = str_slice(value, 1, value.n);
    take_field(parser, str_slice(line, 0, MIN_OF(colon, line.n)), value);
  }
  buf_reset(&parser->line);
}

static bool check(const struct sse_parser *parser, struct err *err) {
  const struct buf *all[] = {&parser->line, &parser->data, &parser->type, &parser->id, &parser->new_id};
  for (size_t i = 0; i < ARRAY_LEN(all); i++)
    if (!buf_ok(all[i], err))
      return err_prefix(err, "the event stream cannot be read");
  return true;
}

bool sse_feed(struct sse_parser *parser, struct str bytes, sse_fn *fn, void *ctx, struct err *err) {
  for (size_t at = 0; at < bytes.n && !parser->stopped; at++) {
    char c = bytes.p[at];
    bool joined = parser->after_cr && c == '\n';
    parser->after_cr = c == '\r';
    if (joined)
      continue;
    if (c == '\n' || c == '\r') {
      take_line(parser, fn, ctx);
      if (!check(parser, err))
        return false;
    } else {
      buf_putc(&parser->line, c);
    }
  }
  return check(parser, err) && (!parser->stopped || err_set(err, ERR_CANCELLED, "the reader has seen enough"));
}
