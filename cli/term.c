#include "cli/term.h"

#include <math.h>
#include <sys/ioctl.h>

struct range {
  uint32_t from, to;
};

static const struct range zero_width[] = {
    {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A}, {0x064B, 0x065F},   {0x06D6, 0x06DC},
    {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F},   {0x2060, 0x2064},
    {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}, {0x1F3FB, 0x1F3FF}, {0xE0100, 0xE01EF},
};

static const struct range double_width[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x23E9, 0x23EC},   {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},
    {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},   {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},
    {0x274C, 0x274C},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},   {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},
    {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},
    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F004, 0x1F004},
    {0x1F18E, 0x1F19A}, {0x1F200, 0x1F320}, {0x1F32D, 0x1F3FA}, {0x1F400, 0x1F64F}, {0x1F680, 0x1F6FC}, {0x1F7E0, 0x1F7EB},
    {0x1F90C, 0x1FAFF}, {0x20000, 0x3FFFD},
};

static bool in_ranges(const struct range *ranges, size_t count, uint32_t c) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (c > ranges[middle].to)
      low = middle + 1;
    else if (c < ranges[middle].from)
      high = middle;
    else
      return true;
  }
  return false;
}

/* How many bytes the character that begins with this byte has; 0 when none begins so. */
static size_t utf8_length(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

/* The first character and its length in bytes. Broken UTF-8 gives its first byte and false. */
static bool first_char(struct str text, uint32_t *ret_char, size_t *ret_length) {
  static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  unsigned char first = (unsigned char)text.p[0];
  size_t length = utf8_length(first);
  *ret_char = first;
  *ret_length = 1;
  if (length == 1)
    return true;
  if (!length || length > text.n || !str_is_utf8(str_slice(text, 0, length)))
    return false;
  uint32_t c = first & masks[length];
  for (size_t i = 1; i < length; i++)
    c = c << 6 | ((unsigned char)text.p[i] & 0x3F);
  *ret_char = c;
  *ret_length = length;
  return true;
}

static size_t char_width(uint32_t c) {
  if (c < 0x300)
    return 1;
  if (in_ranges(zero_width, ARRAY_LEN(zero_width), c))
    return 0;
  return in_ranges(double_width, ARRAY_LEN(double_width), c) ? 2 : 1;
}

struct str text_fit(struct str text, size_t columns) {
  size_t at = 0, used = 0;
  while (at < text.n) {
    uint32_t c;
    size_t length;
    size_t width = first_char(str_slice(text, at, text.n), &c, &length) ? char_width(c) : 1;
    if (used + width > columns)
      break;
    used += width;
    at += length;
  }
  return str_slice(text, 0, at);
}

size_t text_width(struct str text) {
  size_t width = 0;
  for (size_t at = 0; at < text.n;) {
    uint32_t c;
    size_t length;
    width += first_char(str_slice(text, at, text.n), &c, &length) ? char_width(c) : 1;
    at += length;
  }
  return width;
}

static bool is_hostile(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || c == 0x061C || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

static void escape_char(struct buf *out, uint32_t c) {
  switch (c) {
  case '\n':
    buf_puts(out, "\\n");
    break;
  case '\t':
    buf_puts(out, "\\t");
    break;
  case '\r':
    buf_puts(out, "\\r");
    break;
  default:
    buf_printf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
  }
}

/* Escapes one character of `text` and returns its length. `pass` may name characters that are left alone. */
static size_t escape_next(struct buf *out, struct str text, const char *pass) {
  uint32_t c;
  size_t length;
  bool good = first_char(text, &c, &length);
  if (!good || (is_hostile(c) && !(c && c < 0x80 && strchr(pass, (int)c))))
    escape_char(out, c);
  else
    buf_add(out, text.p, length);
  return length;
}

void text_escape(struct buf *out, struct str text) {
  for (size_t at = 0; at < text.n;)
    at += escape_next(out, str_slice(text, at, text.n), "");
}

/* Is `text`, which begins with ESC, a whole SGR sequence (its length), the beginning of one (0), or something else (SIZE_MAX)? One that
 * does not fit into what is held back is something else, also when all of it is there. */
static size_t sgr_length(struct str text) {
  for (size_t i = 1; i < text.n; i++) {
    if (i == HELD_MAX)
      return SIZE_MAX;
    char c = text.p[i];
    if (i == 1 ? c != '[' : c != ';' && c != ':' && (c < '0' || c > '9'))
      return i > 1 && c == 'm' ? i + 1 : SIZE_MAX;
  }
  return 0;
}

static bool is_cut_char(struct str text) {
  size_t length = utf8_length((unsigned char)text.p[0]);
  if (length <= text.n)
    return false;
  for (size_t i = 1; i < text.n; i++)
    if (((unsigned char)text.p[i] & 0xC0) != 0x80)
      return false;
  return true;
}

/* Returns how many bytes were taken; stops before what cannot be judged yet. */
static size_t filter_some(struct log_filter *filter, struct str bytes, struct buf *out) {
  size_t at = 0;
  while (at < bytes.n) {
    struct str rest = str_slice(bytes, at, bytes.n);
    if (rest.p[0] == '\x1b') {
      size_t length = sgr_length(rest);
      if (length == 0 && rest.n < HELD_MAX)
        return at;
      if (length && length != SIZE_MAX) {
        if (filter->colours)
          buf_add(out, rest.p, length);
        at += length;
        continue;
      }
    } else if (is_cut_char(rest)) {
      return at;
    }
    at += escape_next(out, rest, "\n\t\r");
  }
  return at;
}

void log_filter_feed(struct log_filter *filter, struct str bytes, struct buf *out) {
  while (filter->held_count && bytes.n) {
    size_t before = filter->held_count;
    size_t more = MIN_OF((size_t)HELD_MAX - before, bytes.n);
    memcpy(filter->held + before, bytes.p, more);
    size_t used = filter_some(filter, str_n(filter->held, before + more), out);
    if (used == 0) { /* all of `bytes` went into the unfinished sequence */
      filter->held_count = before + more;
      return;
    }
    filter->held_count = 0;
    if (used < before) { /* part of what was held is still undecided: keep it in front */
      memmove(filter->held, filter->held + used, before - used);
      filter->held_count = before - used;
    } else {
      bytes = str_slice(bytes, used - before, bytes.n);
    }
  }
  size_t used = filter_some(filter, bytes, out);
  if (used < bytes.n) {
    filter->held_count = bytes.n - used;
    memcpy(filter->held, bytes.p + used, filter->held_count);
  }
}

void log_filter_end(struct log_filter *filter, struct buf *out) {
  text_escape(out, str_n(filter->held, filter->held_count));
  filter->held_count = 0;
}

static const char *const style_codes[] = {
    [STYLE_NONE] = "",         [STYLE_HEAD] = "\x1b[1m", [STYLE_GOOD] = "\x1b[32m", [STYLE_BAD] = "\x1b[31m",
    [STYLE_BUSY] = "\x1b[36m", [STYLE_DIM] = "\x1b[2m",  [STYLE_WARN] = "\x1b[33m", [STYLE_BOLD] = "\x1b[1m",
};

void style_begin(struct buf *out, enum term_style style) {
  buf_puts(out, style_codes[style]);
}

void style_end(struct buf *out, enum term_style style) {
  if (style != STYLE_NONE)
    buf_puts(out, "\x1b[0m");
}

static const struct {
  const char *state;
  enum term_style style;
} state_styles[] = {
    {"RUNNING", STYLE_BUSY},  {"STARTING", STYLE_BUSY}, {"STOPPING", STYLE_BUSY}, {"QUEUED", STYLE_DIM}, {"PAUSED", STYLE_WARN},
    {"DRAINING", STYLE_WARN}, {"FINISHED", STYLE_GOOD}, {"FAILED", STYLE_BAD},    {"LOST", STYLE_BAD},   {"KILLED", STYLE_WARN},
    {"STOPPED", STYLE_WARN},  {"ok", STYLE_GOOD},       {"up", STYLE_GOOD},       {"READY", STYLE_GOOD}, {"down", STYLE_BAD},
};

enum term_style style_of_state(struct str state) {
  for (size_t i = 0; i < ARRAY_LEN(state_styles); i++)
    if (str_is(state, state_styles[i].state))
      return state_styles[i].style;
  return STYLE_NONE;
}

bool color_wanted(enum color_choice choice, bool is_tty, const char *no_color, const char *term) {
  if (choice != COLOR_AUTO)
    return choice == COLOR_ALWAYS;
  return is_tty && !(no_color && no_color[0]) && !(term && strcmp(term, "dumb") == 0);
}

size_t term_columns(int fd) {
  if (!isatty(fd))
    return 0;
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
    return size.ws_col;
  uint64_t columns;
  return str_to_u64(str_of(getenv("COLUMNS")), &columns) && columns && columns < 10000 ? (size_t)columns : 80;
}

void sparkline(struct buf *out, const double *values, size_t count, size_t columns) {
  static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double low = INFINITY, high = -INFINITY;
  for (size_t i = 0; i < count; i++) {
    if (isfinite(values[i])) {
      low = fmin(low, values[i]);
      high = fmax(high, values[i]);
    }
  }
  size_t shown = MIN_OF(count, columns);
  for (size_t i = 0; i < shown; i++) {
    double value = values[(i + 1) * count / shown - 1];
    double scale = high / 2 - low / 2; /* halves: the difference of two finite values may not be */
    if (isnan(value))
      buf_putc(out, ' ');
    else if (isinf(value))
      buf_puts(out, blocks[value > 0 ? ARRAY_LEN(blocks) - 1 : 0]);
    else
      buf_puts(out, blocks[scale > 0 ? (size_t)((value / 2 - low / 2) / scale * 7.0 + 0.5) : 3]);
  }
}
