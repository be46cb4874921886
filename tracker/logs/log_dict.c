/* Dict literals as Python prints them, and JSON: numbers under their names, nested ones under "outer/inner". */
#include "tracker/logs/log_state.h"

enum { DEPTH_MAX = 8, ITEMS_MAX = 2048 };

struct reader {
  struct log_parse *p;
  struct str text;
  size_t at;
  unsigned items;
  size_t lines_to; /* line ends counted up to here */
  uint64_t lines;
  /* {"name": "accuracy", "value": 0.9, "step": 3} says its name in a value */
  struct str says_name;
  struct str last_key;
  struct str section; /* empty: it says none */
  bool scheduled;     /* has a learning rate or an epoch: printed while training */
};

static void blanks(struct reader *r) {
  while (r->at < r->text.n && (r->text.p[r->at] == ' ' || r->text.p[r->at] == '\n' || r->text.p[r->at] == '\t' || r->text.p[r->at] == '\r'))
    r->at++;
}

static bool take(struct reader *r, char c) {
  blanks(r);
  if (r->at >= r->text.n || r->text.p[r->at] != c)
    return false;
  r->at++;
  return true;
}

static bool string(struct reader *r, struct str *ret) {
  blanks(r);
  if (r->at >= r->text.n)
    return false;
  char quote = r->text.p[r->at];
  if (quote != '"' && quote != '\'')
    return false;
  size_t start = ++r->at;
  for (; r->at < r->text.n; r->at++) {
    if (r->text.p[r->at] == '\\')
      r->at++;
    else if (r->text.p[r->at] == quote) {
      *ret = str_n(r->text.p + start, r->at - start);
      r->at++;
      return true;
    }
  }
  return false;
}

/* Anything up to the comma or bracket that ends it; brackets and strings inside go along. */
static bool skip_value(struct reader *r) {
  unsigned depth = 0;
  while (r->at < r->text.n) {
    char c = r->text.p[r->at];
    struct str ignored;
    if (c == '"' || c == '\'') {
      if (!string(r, &ignored))
        return false;
      continue;
    }
    if (c == '(' || c == '[' || c == '{')
      depth++;
    else if ((c == ')' || c == ']' || c == '}') && depth)
      depth--;
    else if (!depth && (c == ',' || c == '}' || c == ']' || c == ')'))
      return true;
    r->at++;
  }
  return false;
}

/* 0.5, nan, tensor(0.5, device='cpu'), np.float64(0.5), [0.5]: the number in it. False when it has none, or several. */
static bool number_of(struct str text, double *ret) {
  struct log_number number;
  text = str_trim(text);
  for (unsigned wraps = 0; wraps < 4; wraps++) {
    if (log_number_whole(text, &number)) {
      *ret = number.value;
      return true;
    }
    size_t open = 0;
    while (open < text.n && (isalnum((unsigned char)text.p[open]) || text.p[open] == '.' || text.p[open] == '_'))
      open++;
    if (open >= text.n || (text.p[open] != '(' && text.p[open] != '['))
      return false;
    if (open == 0 && text.p[0] == '(')
      return false;
    size_t end = open + 1, comma = 0;
    for (unsigned depth = 1; end < text.n; end++) {
      char c = text.p[end];
      depth += c == '(' || c == '[';
      depth -= c == ')' || c == ']';
      if (!comma && depth == 1 && c == ',')
        comma = end;
      if (!depth)
        break;
    }
    if (comma && text.p[open] == '[')
      return false;
    text = str_trim(str_slice(text, open + 1, comma ? comma : end));
  }
  return false;
}

/* (0.8912, 0.01), (0.9, None): a mean with its error, as of a metric. "(-1, 1)" is a range. False when it is none. */
static bool mean_of(struct str text, double *ret) {
  struct log_number mean, error;
  text = str_trim(text);
  size_t comma = str_find(text, ',');
  if (text.n < 5 || text.p[0] != '(' || text.p[text.n - 1] != ')' || comma == SIZE_MAX ||
      !log_number_whole(str_slice(text, 1, comma), &mean) || mean.integer)
    return false;
  struct str second = str_trim(str_slice(text, comma + 1, text.n - 1));
  if (!str_is(second, "None") && (!log_number_whole(second, &error) || error.integer || error.value < 0))
    return false;
  *ret = mean.value;
  return true;
}

static struct str join(struct reader *r, struct str path, struct str key) {
  if (!path.n)
    return key;
  char *text = log_scratch(r->p, path.n + 1 + key.n);
  if (!text)
    return STR("");
  memcpy(text, path.p, path.n);
  text[path.n] = '/';
  memcpy(text + path.n + 1, key.p, key.n);
  return str_n(text, path.n + 1 + key.n);
}

static void number_found(struct reader *r, struct str path, struct str key, bool top, double number) {
  struct log_parse *p = r->p;
  enum log_key_kind kind = log_classify(p, key).kind;
  struct place *own = &p->own;
  r->last_key = key;
  r->scheduled |= kind == LOG_KEY_SCHEDULE || kind == LOG_KEY_EPOCH;
  bool place = number >= 0 && number < 1e15;
  if (kind == LOG_KEY_EPOCH && place) {
    if (isnan(own->epoch) || top)
      own->epoch = number;
  } else if (kind == LOG_KEY_STEP && place && number == floor(number)) { /* 'time_step': 0.03 is how long one took */
    if (isnan(own->step) || top)
      own->step = number;
  } else if (kind == LOG_KEY_BATCH && place) {
    if (isnan(own->batch))
      own->batch = number;
  } else if (str_is(key, "epoch_num") || str_is(key, "epoch_number")) {
    own->epoch = number;
  } else if (str_is(key, "value") && top) {
    log_add_raw(p, key, number);
  } else {
    struct str name = join(r, path, key);
    if (name.n)
      log_add_raw(p, name, number);
  }
}

static bool is_skipped_name(struct log_parse *p, struct str key) {
  if (p->record)
    return false;
  enum log_key_kind kind = log_classify(p, key).kind;
  return (kind == LOG_KEY_SETTING || kind == LOG_KEY_CLOCK) && !log_is_container(key);
}

/* Words that say nothing of what is in the dict behind them. */
bool log_is_container(struct str name) {
  static const char *const names[] = {"data", "output", "outputs", "result", "results", "logs", "record"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++)
    if (str_eq_nocase(name, str_of(names[i])))
      return true;
  return false;
}

static bool object(struct reader *r, struct str path, bool skip, unsigned depth);

/* "name", 'name', or a bare one as in {0: ...} */
static bool read_key(struct reader *r, struct str *ret) {
  blanks(r);
  if (string(r, ret))
    return true;
  size_t start = r->at;
  while (r->at < r->text.n && !strchr(":,{}[]()\"'", r->text.p[r->at]))
    r->at++;
  *ret = str_trim(str_n(r->text.p + start, r->at - start));
  return ret->n > 0;
}

static bool inner_object(struct reader *r, struct str path, struct str key, bool skip, unsigned depth) {
  bool same_level = str_eq_nocase(key, STR("metadata")) || str_eq_nocase(key, STR("metrics"));
  struct str inner = same_level ? path : depth ? join(r, path, key) : key;
  return object(r, inner, skip || is_skipped_name(r->p, key), depth + 1);
}

/* Texts that say something about the record: its metric's name, its section ("phase": "val"), a message that is a line of its own. */
static void note_text(struct reader *r, struct str key, struct str text) {
  static const char *const name_keys[] = {"name", "metric", "key", "tag"};
  if (str_is(key, "message") || str_is(key, "msg") || str_is(key, "log"))
    r->p->message = str_ends(text, STR("\\n")) ? str_slice(text, 0, text.n - 2) : text; /* as containers' output is kept */
  else if (log_flags(r->p, text) & (LOG_WORD_VALID | LOG_WORD_TEST) && log_is_section(text))
    r->section = text;
  for (size_t i = 0; i < ARRAY_LEN(name_keys); i++)
    if (str_is(key, name_keys[i]))
      r->says_name = text;
}

static bool is_integer(struct str text) {
  struct log_number number;
  return log_number_whole(text, &number) && number.integer;
}

/* The line of the text at which the value starts is the point's. */
static void set_line(struct reader *r, struct raw *raw, size_t start) {
  for (; r->lines_to < start; r->lines_to++)
    r->lines += r->text.p[r->lines_to] == '\n';
  raw->line += r->lines;
  raw->in_dict = true;
}

static bool plain_value(struct reader *r, struct str path, struct str key, bool skip, unsigned depth) {
  size_t start = r->at, before = r->p->raw_n;
  bool quoted = r->at < r->text.n && (r->text.p[r->at] == '"' || r->text.p[r->at] == '\'');
  if (!skip_value(r))
    return false;
  struct str text = str_n(r->text.p + start, r->at - start);
  if (quoted) {
    text = str_trim(text);
    text = text.n >= 2 ? str_slice(text, 1, text.n - 1) : STR("");
    if (depth == 0)
      note_text(r, key, text);
  }
  double number;
  if (!skip && (number_of(text, &number) || (log_classify(r->p, key).kind == LOG_KEY_METRIC && mean_of(text, &number))))
    number_found(r, path, key, depth == 0, number);
  if (r->p->raw_n > before) {
    struct raw *raw = &r->p->raw[r->p->raw_n - 1];
    set_line(r, raw, start);
    raw->integer = raw->kind == LOG_KEY_UNKNOWN && is_integer(text);
  }
  return true;
}

static bool object(struct reader *r, struct str path, bool skip, unsigned depth) {
  if (depth > DEPTH_MAX || !take(r, '{'))
    return false;
  while (!take(r, '}')) {
    struct str key;
    if (++r->items > ITEMS_MAX || !read_key(r, &key) || !take(r, ':'))
      return false;
    blanks(r);
    bool nested = r->at < r->text.n && r->text.p[r->at] == '{';
    if (!(nested ? inner_object(r, path, key, skip, depth) : plain_value(r, path, key, skip, depth)))
      return false;
    if (!take(r, ',') && !(r->at < r->text.n && r->text.p[r->at] == '}'))
      return false;
  }
  return true;
}

size_t log_find_dict(struct log_parse *p, struct str text, size_t at, bool skip) {
  struct reader r = {.p = p, .text = text, .at = at};
  size_t raw_before = p->raw_n;
  struct place own_before = p->own;
  if (!object(&r, STR(""), skip, 0)) {
    p->raw_n = raw_before;
    p->own = own_before;
    p->message = STR("");
    return 0;
  }
  if (str_is(r.last_key, "global_step") && !r.scheduled) /* what an estimator's evaluate() gives */
    for (size_t i = raw_before; i < p->raw_n; i++)
      p->raw[i].section = p->raw[i].section.n ? p->raw[i].section : STR("evaluate");
  for (size_t i = raw_before; r.section.n && i < p->raw_n; i++)
    p->raw[i].section = p->raw[i].section.n ? p->raw[i].section : r.section;
  if (r.says_name.n && r.says_name.n < LOG_NAME_MAX)
    for (size_t i = raw_before; i < p->raw_n; i++)
      if (str_is(p->raw[i].name, "value")) {
        p->raw[i].name = r.says_name;
        struct log_key key = log_classify(p, r.says_name);
        p->raw[i].kind = key.kind == LOG_KEY_UNKNOWN ? LOG_KEY_METRIC : key.kind;
        p->raw[i].sections = key.sections;
      }
  return r.at;
}

int log_dict_depth(struct str text) {
  static const bool telling[256] = {
      ['"'] = true, ['\''] = true, ['{'] = true, ['['] = true, ['('] = true, ['}'] = true, [']'] = true, [')'] = true};
  int depth = 0;
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (!telling[(unsigned char)c])
      continue;
    if (c == '"' || c == '\'') {
      size_t j = i + 1;
      while (j < text.n && text.p[j] != c && text.p[j] != '\n')
        j += text.p[j] == '\\' ? 2 : 1;
      if (j < text.n && text.p[j] == c)
        i = j;
    } else {
      depth += c == '{' || c == '[' || c == '(';
      depth -= c == '}' || c == ']' || c == ')';
    }
  }
  return depth;
}
