#define PCRE2_CODE_UNIT_WIDTH 8

#include "tracker/log_pattern.h"

#include <math.h>
#include <pcre2.h>

#include "base/buf.h"
#include "base/mem.h"
#include "tracker/log_token.h"

enum {
  PATTERN_MAX = 4096,
  GROUPS_MAX = 32,
  LITERAL_MAX = 64,
  KEY_MAX = 250,
  TEXT_MAX = 16 * 1024,
  MATCH_LIMIT = 100000, /* steps of the matcher on one line */
  HEAP_LIMIT_KIB = 1024,
  JIT_STACK_MAX = 256 * 1024,
};

enum group_role { ROLE_NONE, ROLE_NAME, ROLE_VALUE, ROLE_STEP, ROLE_EPOCH, ROLE_TIME, ROLE_KEY };

struct group {
  enum group_role role;
  char *name; /* of ROLE_KEY; owned */
};

struct log_pattern {
  pcre2_code *code, *when;
  pcre2_match_data *match;
  pcre2_match_context *limits;
  pcre2_jit_stack *stack;
  struct group groups[GROUPS_MAX + 1]; /* by number */
  unsigned group_count;
  char *key, *prefix;
  char literal[LITERAL_MAX];
  size_t literal_n;
  uint64_t given_up;
  struct log_pattern_hit hits[LOG_PATTERN_HITS_MAX];
  size_t hits_n;
  char text[TEXT_MAX]; /* of the hits' keys */
  size_t text_n;
};

void log_pattern_free(struct log_pattern *p) {
  if (!p)
    return;
  pcre2_code_free(p->code);
  pcre2_code_free(p->when);
  pcre2_match_data_free(p->match);
  pcre2_match_context_free(p->limits);
  pcre2_jit_stack_free(p->stack);
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
  return p->given_up;
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
    size_t taken = 1;
    bool plain = !strchr("\\^$.[]|()?*+{}", c);
    if (c == '\\' && next && !isalnum((unsigned char)next)) {
      c = next;
      taken = 2;
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
    char after = i + taken < s.n ? s.p[i + taken] : 0;
    if (after && strchr("?*{", after)) { /* may be missing */
      keep_longer(best, &run);
    } else {
      if (run.n < LITERAL_MAX)
        run.text[run.n++] = c;
      if (after == '+')
        keep_longer(best, &run);
    }
    i += taken;
  }
  keep_longer(best, &run);
}

/* ---- compiling ---- */

static pcre2_code *compile(const char *pattern, struct err *err) {
  int code;
  PCRE2_SIZE at;
  size_t n = strlen(pattern);
  if (n > PATTERN_MAX) {
    err_set(err, ERR_TOO_LARGE, "the pattern has %zu bytes; at most %d are allowed", n, PATTERN_MAX);
    return NULL;
  }
  uint32_t options = PCRE2_NEVER_BACKSLASH_C;
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)pattern[i] >= 0x80)
      options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
  pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, n, options, &code, &at, NULL);
  if (!compiled) {
    char text[160] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    err_set(err, ERR_INVALID, "pattern %s: %s at character %zu", pattern, text, (size_t)at + 1);
    return NULL;
  }
  (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the interpreter serves */
  return compiled;
}

static bool name_groups(struct log_pattern *p, const struct log_pattern_spec *spec, struct err *err) {
  static const struct {
    const char *name;
    enum group_role role;
  } reserved[] = {{"name", ROLE_NAME}, {"value", ROLE_VALUE}, {"step", ROLE_STEP}, {"epoch", ROLE_EPOCH}, {"time", ROLE_TIME}};
  uint32_t groups = 0, names = 0, entry_size = 0;
  PCRE2_SPTR table = NULL;
  pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &groups);
  pcre2_pattern_info(p->code, PCRE2_INFO_NAMECOUNT, &names);
  pcre2_pattern_info(p->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
  pcre2_pattern_info(p->code, PCRE2_INFO_NAMETABLE, &table);
  if (groups > GROUPS_MAX)
    return err_set(err, ERR_INVALID, "the pattern has %u groups; at most %d are allowed", (unsigned)groups, GROUPS_MAX);
  p->group_count = groups;
  bool has_value = false, has_key = false, has_name = false;
  for (uint32_t i = 0; i < names; i++, table += entry_size) {
    struct group *group = &p->groups[(unsigned)table[0] << 8 | table[1]];
    const char *name = (const char *)table + 2;
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
  if (!(p->code = compile(spec->pattern, err)) || (spec->when && !(p->when = compile(spec->when, err))))
    return false;
  p->match = pcre2_match_data_create(GROUPS_MAX + 1, NULL);
  p->limits = pcre2_match_context_create(NULL);
  p->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
  if (!p->match || !p->limits || !p->stack)
    return err_no_memory(err);
  pcre2_set_match_limit(p->limits, MATCH_LIMIT);
  pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KIB);
  pcre2_jit_stack_assign(p->limits, NULL, p->stack);
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

static bool run(struct log_pattern *p, const pcre2_code *code, struct str line, size_t from, int *ret_groups) {
  int n = pcre2_match(code, (PCRE2_SPTR)line.p, line.n, from, 0, p->match, p->limits);
  if (n < 0 && n != PCRE2_ERROR_NOMATCH)
    p->given_up++;
  *ret_groups = n;
  return n > 0;
}

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

static void take_match(struct log_pattern *p, struct str line, int groups) {
  const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->match);
  struct str texts[GROUPS_MAX + 1], name = str_of(p->key);
  struct log_pattern_hit place = {.step = NAN, .epoch = NAN};
  for (unsigned i = 1; i <= p->group_count; i++) {
    bool set = (int)i < groups && at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
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
  if (p->when && !run(p, p->when, line, 0, &groups))
    return 0;
  for (size_t from = 0; from <= line.n && p->hits_n < LOG_PATTERN_HITS_MAX && run(p, p->code, line, from, &groups);) {
    take_match(p, line, groups);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->match);
    size_t end = MAX_OF(at[0], at[1]);
    from = end > from ? end : from + 1;
  }
  return p->hits_n;
}
