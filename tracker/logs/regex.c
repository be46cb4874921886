#define PCRE2_CODE_UNIT_WIDTH 8

#include "tracker/logs/regex.h"

#include <pcre2.h>

#include "base/mem.h"

enum {
  MATCH_LIMIT = 100000, /* steps of the matcher in one text */
  HEAP_LIMIT_KIB = 1024,
  JIT_STACK_MAX = 256 * 1024,
};
_Static_assert(REGEX_UNSET == PCRE2_UNSET, "regex.h names it too");

struct regex {
  pcre2_code *code;
  pcre2_match_data *match;
  pcre2_match_context *limits;
  pcre2_jit_stack *stack;
  uint64_t given_up;
};

void regex_free(struct regex *r) {
  if (!r)
    return;
  pcre2_code_free(r->code);
  pcre2_match_data_free(r->match);
  pcre2_match_context_free(r->limits);
  pcre2_jit_stack_free(r->stack);
  mem_free(r);
}

static pcre2_code *compile(const char *pattern, struct err *err) {
  int code;
  PCRE2_SIZE at;
  size_t n = strlen(pattern);
  if (n > REGEX_PATTERN_MAX) {
    err_set(err, ERR_TOO_LARGE, "the pattern has %zu bytes; at most %d are allowed", n, REGEX_PATTERN_MAX);
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

struct regex *regex_new(const char *pattern, struct err *err) {
  struct regex *r = mem_zalloc(sizeof *r);
  if (!r) {
    err_no_memory(err);
    return NULL;
  }
  r->code = compile(pattern, err);
  if (!r->code) {
    regex_free(r);
    return NULL;
  }
  r->match = pcre2_match_data_create(REGEX_GROUPS_MAX + 1, NULL);
  r->limits = pcre2_match_context_create(NULL);
  r->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
  if (!r->match || !r->limits || !r->stack) {
    regex_free(r);
    err_no_memory(err);
    return NULL;
  }
  pcre2_set_match_limit(r->limits, MATCH_LIMIT);
  pcre2_set_heap_limit(r->limits, HEAP_LIMIT_KIB);
  pcre2_jit_stack_assign(r->limits, NULL, r->stack);
  return r;
}

unsigned regex_groups(const struct regex *r) {
  uint32_t groups = 0;
  pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
  return groups;
}

const char *regex_name(const struct regex *r, unsigned i, unsigned *ret_number) {
  uint32_t names = 0, entry_size = 0;
  PCRE2_SPTR table = NULL;
  pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &names);
  pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
  pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, &table);
  if (i >= names)
    return NULL;
  table += (size_t)i * entry_size;
  *ret_number = (unsigned)table[0] << 8 | table[1];
  return (const char *)table + 2;
}

int regex_find(struct regex *r, struct str text, size_t from, const size_t **ret_at) {
  int n = pcre2_match(r->code, (PCRE2_SPTR)text.p, text.n, from, 0, r->match, r->limits);
  if (n < 0 && n != PCRE2_ERROR_NOMATCH)
    r->given_up++;
  *ret_at = pcre2_get_ovector_pointer(r->match);
  return MAX_OF(n, 0);
}

uint64_t regex_given_up(const struct regex *r) {
  return r->given_up;
}
