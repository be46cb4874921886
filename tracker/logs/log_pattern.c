#include "tracker/logs/log_pattern.h"

#include <math.h>

#include "base/buf.h"
#include "base/mem.h"
#include "tracker/logs/log_token.h"
#include "tracker/logs/regex.h"

enum {
  GROUPS_MAX = REGEX_GROUPS_MAX,
  LITERAL_MAX = 64,
  KEY_MAX = 250,
  TEXT_MAX = 16 * 1024,
};

enum group_role { ROLE_NONE, ROLE_NAME, ROLE_VALUE, ROLE_STEP, ROLE_EPOCH, ROLE_TIME, ROLE_KEY };

struct group {
  enum group_role role;
  char *name; /* of ROLE_KEY; owned */
};

struct log_pattern {
  struct regex *code, *when;
  struct group groups[GROUPS_MAX + 1]; /* by number */
  unsigned group_count;
  char *key, *prefix;
  char literal[LITERAL_MAX];
  size_t literal_n;
  struct log_pattern_hit hits[LOG_PATTERN_HITS_MAX];
  size_t hits_n;
  char text[TEXT_MAX]; /* of the hits' keys */
  size_t text_n;
};

void log_pattern_free(struct log_pattern *p) {
  if (!p)
    return;
  regex_free(p->code);
  regex_free(p->when);
  for (unsigned i = 0; i <= GROUPS_MAX; i++)
    mem_free(p->groups[i].name);
  mem_free(p->key);
  mem_free(p->prefix);
  mem_free(p);
}

struct str log_pattern_literal(const struct log_pattern *p) {
  return str_n(p->literal, p->literal_n);
}

uint64_t log_pattern_given_up(const struct log_pattern *p) {
  return regex_given_up(p->code) + (p->when ? regex_given_up(p->when) : 0);
}

/* ---- the literal ---- */

struct literal {
  char text[LITERAL_MAX];
  size_t n;
};

static void keep_longer(struct literal *best, struct literal *run) {
  if (run->n > best->n)
    *best = *run;
  run->n = 0;
}

/* Behind the group or class that starts at i; SIZE_MAX when it does not end. */
static size_t skip_group(struct str s, size_t i) {
  unsigned depth = 0;
  for (bool class = false; i < s.n; i++) {
    char c = s.p[i];
    if (c == '\\')
      i++;
    else if (class)
      class = c != ']';
    else if (c == '[') {
      class = true;
      i += i + 1 < s.n && s.p[i + 1] == '^';
      i += i + 1 < s.n && s.p[i + 1] == ']';
    } else
      depth += c == '(', depth -= c == ')' && depth;
    if (!class && !depth && i < s.n && (s.p[i] == ')' || s.p[i] == ']'))
      return i + 1;
  }
  return SIZE_MAX;
}

static bool has_option_or_choice(struct str s) {
  unsigned depth = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '\\')
      i++;
    else if (s.p[i] == '(' && i + 1 < s.n && (s.p[i + 1] == '*' || (s.p[i + 1] == '?' && i + 2 < s.n && !strchr("P<:=!#|>'", s.p[i + 2]))))
      return true; /* (?i), (*VERB) */
    else if (s.p[i] == '[') {
      size_t end = skip_group(s, i);
      if (end == SIZE_MAX)
        return true;
      i = end - 1;
    } else if (s.p[i] == '(')
      depth++;
    else if (s.p[i] == ')')
      depth -= depth > 0;
    else if (s.p[i] == '|' && !depth)
      return true;
  }
  return false;
}

/* The longest text that a match must contain: a run of plain characters outside of groups. */
static void find_literal(struct str s, struct literal *best) {
  struct literal run = {.n = 0};
  best->n = 0;
  if (has_option_or_choice(s))
    return;
  for (size_t i = 0; i < s.n;) {
    char c = s.p[i];
    char next = i + 1 < s.n ? s.p[i + 1] : 0;
    size_t taken = 1, escaped = 0;
    bool plain = !strchr("\\^$.[]|()?*+{}", c);
    if (c == '\\' && next && !isalnum((unsigned char)next)) {
      taken = 2;
      escaped = 1;
      plain = true;
    } else if (c == '\\') {
      /* \d, \Q, \x41, \p{..}: nothing behind a stranger one is trusted */
      keep_longer(best, &run);
      if (!strchr("dDsSwWbBAzZtnrhvRNHV", next))
        return;
      i += 2;
      continue;
    }
    if (!plain) {
      keep_longer(best, &run);
      if (c == '(' || c == '[') {
        size_t end = skip_group(s, i);
        if (end == SIZE_MAX)
          return;
        i = end;
      } else if (c == '{') {
        while (i < s.n && s.p[i] != '}')
          i++;
      } else {
        i++;
      }
      continue;
    }
    while (i + taken < s.n && ((unsigned char)s.p[i + taken] & 0xc0) == 0x80) /* of one character */
      taken++;
    char after = i + taken < s.n ? s.p[i + taken] : 0;
    if (after && strchr("?*{", after)) { /* may be missing */
      keep_longer(best, &run);
    } else {
      size_t n = MIN_OF(taken - escaped, LITERAL_MAX - run.n);
      memcpy(run.text + run.n, s.p + i + escaped, n);
      run.n += n;
      if (after == '+')
        keep_longer(best, &run);
    }
    i += taken;
  }
  keep_longer(best, &run);
}

/* ---- compiling ---- */

static bool name_groups(struct log_pattern *p, const struct log_pattern_spec *spec, struct err *err) {
  static const struct {
    const char *name;
    enum group_role role;
  } reserved[] = {{"name", ROLE_NAME}, {"value", ROLE_VALUE}, {"step", ROLE_STEP}, {"epoch", ROLE_EPOCH}, {"time", ROLE_TIME}};
  unsigned groups = regex_groups(p->code), names = 0, number;
  const char *name;
  if (groups > GROUPS_MAX)
    return err_set(err, ERR_INVALID, "the pattern has %u groups; at most %d are allowed", groups, GROUPS_MAX);
  p->group_count = groups;
  bool has_value = false, has_key = false, has_name = false;
  for (; (name = regex_name(p->code, names, &number)); names++) {
    struct group *group = &p->groups[number];
    group->role = ROLE_KEY;
    for (size_t k = 0; k < ARRAY_LEN(reserved); k++)
      if (strcmp(name, reserved[k].name) == 0)
        group->role = reserved[k].role;
    has_value |= group->role == ROLE_VALUE;
    has_name |= group->role == ROLE_NAME;
    if (group->role == ROLE_KEY) {
      has_key = true;
      if (!(group->name = mem_strdup(name)))
        return err_no_memory(err);
    }
  }
  if (names == 0 && groups >= 1) {
    p->groups[1].role = ROLE_VALUE;
    has_value = true;
  }
  if (!has_value && !has_key) {
    err_set(err, ERR_INVALID, "pattern %s gives no value", spec->pattern);
    return err_hint(err, "name a group after the metric, as in (?P<loss>\\S+), or call it value");
  }
  if (has_value && !has_name && !spec->key) {
    err_set(err, ERR_INVALID, "pattern %s has a value without a name", spec->pattern);
    return err_hint(err, "say key: NAME beside the pattern, or name the group after the metric");
  }
  return true;
}

static char *copy_or_null(const char *text, bool *failed) {
  char *copy = text ? mem_strdup(text) : NULL;
  *failed |= text && !copy;
  return copy;
}

static bool set_up(struct log_pattern *p, const struct log_pattern_spec *spec, struct err *err) {
  bool failed = false;
  p->key = copy_or_null(spec->key, &failed);
  p->prefix = copy_or_null(spec->prefix, &failed);
  if (failed)
    return err_no_memory(err);
  if (!(p->code = regex_new(spec->pattern, err)) || (spec->when && !(p->when = regex_new(spec->when, err))))
    return false;
  struct literal literal;
  find_literal(str_of(spec->pattern), &literal);
  memcpy(p->literal, literal.text, literal.n);
  p->literal_n = literal.n;
  return name_groups(p, spec, err);
}

struct log_pattern *log_pattern_new(const struct log_pattern_spec *spec, struct err *err) {
  struct log_pattern *p = mem_zalloc(sizeof *p);
  if (!p) {
    err_no_memory(err);
    return NULL;
  }
  if (!set_up(p, spec, err)) {
    log_pattern_free(p);
    return NULL;
  }
  return p;
}

/* ---- matching ---- */

/* "0.5", "91%", "1e-3", also with letters behind as in "12ms". */
static bool group_number(struct str text, double *ret) {
  struct log_number number;
  text = str_trim(text);
  if (!log_scan_number(text, &number))
    return false;
  *ret = number.value;
  return true;
}

static int digits(const char *p, int n) {
  int value = 0;
  for (int i = 0; i < n; i++) {
    if (p[i] < '0' || p[i] > '9')
      return -1;
    value = value * 10 + (p[i] - '0');
  }
  return value;
}

/* Seconds since 1970, milliseconds when it can be nothing else, or 2026-11-21T16:00:00(.123)(Z). 0 when it is no time. */
static int64_t group_time(struct str text) {
  double number;
  text = str_trim(text);
  if (text.n >= 19 && text.p[4] == '-' && text.p[7] == '-' && text.p[13] == ':' && text.p[16] == ':') {
    struct tm tm = {.tm_year = digits(text.p, 4) - 1900,
                    .tm_mon = digits(text.p + 5, 2) - 1,
                    .tm_mday = digits(text.p + 8, 2),
                    .tm_hour = digits(text.p + 11, 2),
                    .tm_min = digits(text.p + 14, 2),
                    .tm_sec = digits(text.p + 17, 2)};
    if (tm.tm_year < 70 || tm.tm_mon < 0 || tm.tm_mday < 1 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0)
      return 0;
    int64_t ms = 0;
    if (text.n >= 23 && (text.p[19] == '.' || text.p[19] == ',') && digits(text.p + 20, 3) >= 0)
      ms = digits(text.p + 20, 3);
    return (int64_t)timegm(&tm) * 1000 + ms;
  }
  if (!group_number(text, &number) || !(number > 0 && number < 1e15))
    return 0;
  return number > 1e11 ? (int64_t)number : (int64_t)(number * 1000);
}

static struct str make_key(struct log_pattern *p, struct str name) {
  struct str prefix = str_of(p->prefix);
  size_t n = prefix.n + name.n;
  if (!name.n || n > KEY_MAX || n > TEXT_MAX - p->text_n)
    return STR("");
  char *key = p->text + p->text_n;
  if (prefix.n)
    memcpy(key, prefix.p, prefix.n);
  memcpy(key + prefix.n, name.p, name.n);
  p->text_n += n;
  return str_n(key, n);
}

static void add_hit(struct log_pattern *p, struct str name, struct str value, const struct log_pattern_hit *place) {
  double number;
  if (p->hits_n == LOG_PATTERN_HITS_MAX || !group_number(value, &number))
    return;
  struct str key = make_key(p, str_trim(name));
  if (!key.n)
    return;
  struct log_pattern_hit *hit = &p->hits[p->hits_n++];
  *hit = *place;
  hit->key = key;
  hit->value = number;
}

static void take_match(struct log_pattern *p, struct str line, int groups, const size_t *at) {
  struct str texts[GROUPS_MAX + 1], name = str_of(p->key);
  struct log_pattern_hit place = {.step = NAN, .epoch = NAN};
  for (unsigned i = 1; i <= p->group_count; i++) {
    bool set = (int)i < groups && at[2 * i] != REGEX_UNSET && at[2 * i] <= at[2 * i + 1];
    texts[i] = set ? str_n(line.p + at[2 * i], at[2 * i + 1] - at[2 * i]) : STR("");
    if (!set)
      continue;
    double number;
    enum group_role role = p->groups[i].role;
    if (role == ROLE_NAME)
      name = texts[i];
    else if (role == ROLE_STEP && group_number(texts[i], &number))
      place.step = number;
    else if (role == ROLE_EPOCH && group_number(texts[i], &number))
      place.epoch = number;
    else if (role == ROLE_TIME)
      place.time_ms = group_time(texts[i]);
  }
  for (unsigned i = 1; i <= p->group_count; i++) {
    if (p->groups[i].role == ROLE_VALUE)
      add_hit(p, name, texts[i], &place);
    else if (p->groups[i].role == ROLE_KEY)
      add_hit(p, str_of(p->groups[i].name), texts[i], &place);
  }
}

size_t log_pattern_match(struct log_pattern *p, struct str line, const struct log_pattern_hit **ret) {
  p->hits_n = p->text_n = 0;
  *ret = p->hits;
  if (p->literal_n && !memmem(line.p, line.n, p->literal, p->literal_n))
    return 0;
  int groups;
  const size_t *at;
  if (p->when && !regex_find(p->when, line, 0, &at))
    return 0;
  for (size_t from = 0; from <= line.n && p->hits_n < LOG_PATTERN_HITS_MAX && (groups = regex_find(p->code, line, from, &at));) {
    take_match(p, line, groups, at);
    size_t end = MAX_OF(at[0], at[1]);
    from = end > from ? end : from + 1;
  }
  return p->hits_n;
}
