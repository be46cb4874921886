#include "cli/encode.h"

#include <math.h>

#include "cli/term.h"

/* ---- JSON ---- */

static void encode_text(struct buf *out, struct str text) {
  AUTO_BUF struct buf quoted = BUF_INIT(out->max);
  json_quote(&quoted, text);
  if (quoted.fail)
    out->fail = quoted.fail;
  for (size_t at = 0; at < quoted.n;) {
    uint32_t c;
    size_t length;
    if (text_is_hostile(str_slice(buf_str(&quoted), at, quoted.n), &c, &length))
      buf_printf(out, "\\u%04x", (unsigned)c);
    else
      buf_add(out, quoted.p + at, length);
    at += length;
  }
}

static void encode_scalar(struct buf *out, const json_t *value) {
  char number[32];
  switch (json_typeof(value)) {
  case JSON_STRING:
    encode_text(out, json_str(value));
    break;
  case JSON_INTEGER:
    buf_add_i64(out, json_integer_value(value));
    break;
  case JSON_REAL:
    buf_add(out, number, str_from_f64(json_real_value(value), number));
    break;
  default:
    buf_puts(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
  }
}

static void new_line(struct buf *out, unsigned indent, unsigned depth) {
  if (!indent)
    return;
  buf_putc(out, '\n');
  for (unsigned i = 0; i < indent * depth; i++)
    buf_putc(out, ' ');
}

static void json_at(struct buf *out, const json_t *value, unsigned indent, unsigned depth) {
  bool first = true;
  if (json_is_object(value)) {
    const char *key;
    json_t *item;
    buf_putc(out, '{');
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
      buf_puts(out, first ? "" : ",");
      new_line(out, indent, depth + 1);
      encode_text(out, str_of(key));
      buf_puts(out, indent ? ": " : ":");
      json_at(out, item, indent, depth + 1);
      first = false;
    }
    if (!first)
      new_line(out, indent, depth);
    buf_putc(out, '}');
  } else if (json_is_array(value)) {
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
      buf_puts(out, first ? "" : ",");
      new_line(out, indent, depth + 1);
      json_at(out, json_array_get(value, i), indent, depth + 1);
      first = false;
    }
    if (!first)
      new_line(out, indent, depth);
    buf_putc(out, ']');
  } else {
    encode_scalar(out, value);
  }
}

void encode_json(struct buf *out, const json_t *value, unsigned indent) {
  json_at(out, value, indent, 0);
}

/* ---- YAML ---- */

/* Plain only what no YAML reader, old or new, takes for something else. */
static bool is_plain_yaml(struct str text) {
  static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"};
  if (!text.n || text.n > 200)
    return false;
  char c = text.p[0];
  if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/'))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(words); i++)
    if (str_eq_nocase(text, str_of(words[i])))
      return false;
  for (size_t i = 0; i < text.n; i++) {
    char at = text.p[i];
    bool word = (at >= 'a' && at <= 'z') || (at >= 'A' && at <= 'Z') || (at >= '0' && at <= '9');
    if (!word && !strchr("_-./@+", at))
      return false;
    if (!at)
      return false;
  }
  return true;
}

static void yaml_text(struct buf *out, struct str text) {
  if (is_plain_yaml(text))
    buf_add_str(out, text);
  else
    encode_text(out, text); /* a JSON string is a YAML double-quoted one */
}

static bool is_empty(const json_t *value) {
  return json_is_object(value) ? json_object_size(value) == 0 : json_array_size(value) == 0;
}

static void yaml_at(struct buf *out, const json_t *value, unsigned depth, bool after_dash);

static void yaml_member(struct buf *out, const json_t *value, unsigned depth) {
  if ((json_is_object(value) || json_is_array(value)) && !is_empty(value)) {
    buf_putc(out, '\n');
    yaml_at(out, value, depth + 1, false);
    return;
  }
  buf_putc(out, ' ');
  yaml_at(out, value, depth, false);
}

static void yaml_at(struct buf *out, const json_t *value, unsigned depth, bool after_dash) {
  if ((json_is_object(value) || json_is_array(value)) && is_empty(value)) {
    buf_puts(out, json_is_object(value) ? "{}\n" : "[]\n");
  } else if (json_is_object(value)) {
    const char *key;
    json_t *item;
    bool indent = !after_dash;
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
      for (unsigned i = 0; indent && i < depth; i++)
        buf_puts(out, "  ");
      indent = true;
      yaml_text(out, str_of(key));
      buf_putc(out, ':');
      yaml_member(out, item, depth);
    }
  } else if (json_is_array(value)) {
    for (size_t i = 0; i < json_array_size(value); i++) {
      for (unsigned k = 0; (!after_dash || i) && k < depth; k++)
        buf_puts(out, "  ");
      buf_puts(out, "- ");
      yaml_at(out, json_array_get(value, i), depth + 1, true);
    }
  } else {
    if (json_is_string(value))
      yaml_text(out, json_str(value));
    else
      encode_scalar(out, value);
    buf_putc(out, '\n');
  }
}

void encode_yaml(struct buf *out, const json_t *value) {
  yaml_at(out, value, 0, false);
}

/* ---- CSV ---- */

void encode_csv_text(struct buf *out, struct str text) {
  double number;
  bool formula = text.n && strchr("=+-@\t\r", text.p[0]) && text.p[0] && !str_to_f64(text, &number);
  bool quote = formula;
  for (size_t i = 0; i < text.n && !quote; i++)
    quote = text.p[i] == '"' || text.p[i] == ',' || text.p[i] == '\n' || text.p[i] == '\r';
  if (quote)
    buf_putc(out, '"');
  if (formula)
    buf_putc(out, '\'');
  for (size_t i = 0; i < text.n; i++) {
    if (text.p[i] == '"')
      buf_putc(out, '"');
    buf_putc(out, text.p[i]);
  }
  if (quote)
    buf_putc(out, '"');
}

void encode_csv_value(struct buf *out, const json_t *value) {
  if (!value || json_is_null(value))
    return;
  if (json_is_string(value)) {
    encode_csv_text(out, json_str(value));
  } else if (json_is_object(value) || json_is_array(value)) {
    AUTO_BUF struct buf text = BUF_INIT(out->max);
    encode_json(&text, value, 0);
    if (text.fail)
      out->fail = text.fail;
    encode_csv_text(out, buf_str(&text));
  } else {
    encode_scalar(out, value);
  }
}

/* ---- for people ---- */

void encode_size(struct buf *out, double bytes) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
    bytes /= 1000;
    unit++;
  }
  buf_printf(out, unit && bytes < 9.95 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void encode_duration(struct buf *out, int64_t ms) {
  if (ms < 0) {
    buf_putc(out, '-');
    ms = ms == INT64_MIN ? INT64_MAX : -ms;
  }
  int64_t s = ms / 1000;
  if (ms < 1000)
    buf_printf(out, "%dms", (int)ms);
  else if (s < 60)
    buf_printf(out, s < 10 ? "%.1fs" : "%.0fs", (double)(ms / 100) / 10);
  else if (s < 3600)
    buf_printf(out, "%dm %02ds", (int)(s / 60), (int)(s % 60));
  else if (s < 48 * 3600)
    buf_printf(out, "%dh %02dm", (int)(s / 3600), (int)(s / 60 % 60));
  else
    buf_printf(out, "%lldd %02dh", (long long)(s / 86400), (int)(s / 3600 % 24));
}

void encode_age(struct buf *out, int64_t then_ms, int64_t now_ms) {
  int64_t age;
  if (__builtin_sub_overflow(now_ms, then_ms, &age) || age == INT64_MIN) {
    buf_putc(out, '?');
    return;
  }
  int64_t s = (age < 0 ? -age : age) / 1000;
  if (s < 1) {
    buf_puts(out, "now");
    return;
  }
  buf_puts(out, age < 0 ? "in " : "");
  if (s < 60)
    buf_printf(out, "%ds", (int)s);
  else if (s < 3600)
    buf_printf(out, "%dm", (int)(s / 60));
  else if (s < 48 * 3600)
    buf_printf(out, "%dh", (int)(s / 3600));
  else
    buf_printf(out, "%lldd", (long long)(s / 86400));
  buf_puts(out, age < 0 ? "" : " ago");
}

void encode_number(struct buf *out, double value) {
  if (isnan(value))
    buf_puts(out, "NaN");
  else if (isinf(value))
    buf_puts(out, value > 0 ? "inf" : "-inf");
  else if (fabs(value) < 1e15 && value == floor(value))
    buf_printf(out, "%.0f", value);
  else
    buf_printf(out, "%.6g", value);
}
