#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

enum { LINE_MAX_BYTES = 16 * 1024, GATHER_MAX = 256 * 1024, CHAIN_MAX = 16 };

static struct {
  pthread_mutex_t lock;
  _Atomic int level;
  enum log_format format;
  int fd;
  struct buf gathered;
  uint64_t lost;  /* lines that did not fit or could not be written */
  int64_t second; /* of the last line, and its text */
  char second_text[32];
} logger = {PTHREAD_MUTEX_INITIALIZER, LOG_INFO, LOG_TEXT, 2, {.max = GATHER_MAX}, 0, 0, ""};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void log_setup(enum log_level level, enum log_format format, int fd) {
  pthread_mutex_lock(&logger.lock);
  logger.level = (int)level;
  logger.format = format;
  logger.fd = fd;
  pthread_mutex_unlock(&logger.lock);
}

bool log_wants(enum log_level level) {
  return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

/* With the lock held. A log that cannot be written must not stop the service. */
static void write_out(void) {
  size_t at = 0;
  while (at < logger.gathered.n) {
    ssize_t n = write(logger.fd, logger.gathered.p + at, logger.gathered.n - at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      logger.lost++;
      break;
    }
    at += (size_t)n;
  }
  buf_reset(&logger.gathered);
}

void log_flush(void) {
  pthread_mutex_lock(&logger.lock);
  if (logger.gathered.n)
    write_out();
  pthread_mutex_unlock(&logger.lock);
}

/* Text values are bare when they are plain words, else quoted; nothing they contain can start a new line. */
static void add_text_value(struct buf *out, struct str value) {
  bool plain = value.n > 0;
  for (size_t i = 0; i < value.n && plain; i++) {
    unsigned char c = (unsigned char)value.p[i];
    plain = c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
  }
  if (plain)
    buf_add_str(out, value);
  else
    json_quote(out, value);
}

static void add_message_text(struct buf *out, struct str message) {
  for (size_t i = 0; i < message.n; i++) {
    unsigned char c = (unsigned char)message.p[i];
    if (c == '\n')
      buf_puts(out, "\\n");
    else if (c < ' ' || c == 0x7f)
      buf_printf(out, "\\x%02x", c);
    else
      buf_putc(out, (char)c);
  }
}

struct event {
  enum log_level level;
  const char *area;
  struct str message;
  const struct log_ctx *ctx;
  const struct log_field *fields;
  size_t field_count;
};

/* With the lock held. Most lines have their second in common with the line before. */
static void format_time(char out[32]) {
  int64_t now = clock_wall_ms(&clock_system);
  if (now / 1000 != logger.second || now < 1000) {
    logger.second = now / 1000;
    clock_format_iso(now, logger.second_text);
  }
  memcpy(out, logger.second_text, sizeof logger.second_text);
  char *dot = strchr(out, '.');
  if (dot)
    for (int i = 3, ms = (int)(now % 1000); i && ms >= 0; i--, ms /= 10)
      dot[i] = (char)('0' + ms % 10);
}

static void add_text_key(struct buf *out, const char *key) {
  buf_putc(out, ' ');
  buf_puts(out, key);
  buf_putc(out, '=');
}

static void format_text(struct buf *out, const struct event *event, const char *time) {
  buf_puts(out, time);
  buf_putc(out, ' ');
  buf_puts(out, level_labels[event->level]);
  buf_putc(out, ' ');
  buf_puts(out, event->area);
  buf_puts(out, ": ");
  add_message_text(out, event->message);
  const struct log_ctx *chain[CHAIN_MAX];
  size_t depth = 0;
  for (const struct log_ctx *ctx = event->ctx; ctx && depth < CHAIN_MAX; ctx = ctx->parent)
    if (ctx->key && ctx->value)
      chain[depth++] = ctx;
  while (depth--) {
    add_text_key(out, chain[depth]->key);
    add_text_value(out, str_of(chain[depth]->value));
  }
  for (size_t i = 0; i < event->field_count; i++)
    if (event->fields[i].value.p) {
      add_text_key(out, event->fields[i].key);
      add_text_value(out, event->fields[i].value);
    }
  buf_putc(out, '\n');
}

static void format_json(struct buf *out, const struct event *event, const char *time) {
  struct json_writer w;
  jw_init(&w, out);
  jw_object(&w);
  jw_put_text(&w, "time", time);
  jw_put_text(&w, "level", level_names[event->level]);
  jw_put_text(&w, "area", event->area);
  jw_put_str(&w, "message", event->message);
  size_t depth = 0;
  for (const struct log_ctx *ctx = event->ctx; ctx && depth < CHAIN_MAX; ctx = ctx->parent, depth++)
    if (ctx->key && ctx->value)
      jw_put_text(&w, ctx->key, ctx->value);
  for (size_t i = 0; i < event->field_count; i++) {
    const struct log_field *field = &event->fields[i];
    if (!field->value.p)
      continue;
    jw_key(&w, field->key);
    if (field->is_number)
      jw_raw(&w, field->value);
    else
      jw_str(&w, field->value);
  }
  jw_object_end(&w);
  buf_putc(out, '\n');
}

static void emit(const struct event *event) {
  char time[32];
  pthread_mutex_lock(&logger.lock);
  format_time(time);
  size_t before = logger.gathered.n;
  if (before + LINE_MAX_BYTES > GATHER_MAX) {
    write_out();
    before = 0;
  }
  if (logger.format == LOG_JSON)
    format_json(&logger.gathered, event, time);
  else
    format_text(&logger.gathered, event, time);
  if (logger.gathered.fail != ERR_NONE) {
    buf_cut(&logger.gathered, before);
    logger.gathered.fail = ERR_NONE;
    logger.lost++;
  }
  if (event->level >= LOG_WARN || logger.gathered.n > GATHER_MAX / 2)
    write_out();
  pthread_mutex_unlock(&logger.lock);
}

void log_write(enum log_level level, const char *area, const struct log_ctx *ctx, const char *format, ...) {
  if (!log_wants(level))
    return;
  char message[2048];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(message, sizeof message, format, args);
  va_end(args);
  if (n < 0)
    return;
  struct event event = {.level = level, .area = area, .ctx = ctx, .message = str_of(message)};
  emit(&event);
}

void log_fields(enum log_level level, const char *area, const char *message, const struct log_field *fields, size_t count) {
  if (!log_wants(level))
    return;
  struct event event = {.level = level, .area = area, .message = str_of(message), .fields = fields, .field_count = count};
  emit(&event);
}
