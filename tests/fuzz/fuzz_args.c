/* Arguments, parted by NUL or newline, against the program's own table; and the same words to completion. What is shown afterwards
 * holds no control character. */
#include "cli/args.h"
#include "cli/completion.h"
#include "cli/term.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_WORDS = 64 };

static void check_flags(const struct args *args) {
  const struct verb *verb = args->verb;
  for (size_t i = 0; verb && i < verb->flag_count; i++) {
    const char *name = verb->flags[i].name;
    switch (verb->flags[i].type) {
    case FLAG_INT:
      if (args_i64(args, name, 0) < 0)
        abort();
      break;
    case FLAG_DURATION:
      if (args_duration(args, name, 0) < 0)
        abort();
      break;
    default:
      (void)args_text(args, name);
    }
  }
}

static void check_escaped(const char *text) {
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  text_escape(&out, str_of(text));
  for (size_t i = 0; i < out.n; i++)
    if ((unsigned char)out.p[i] < 0x20 || out.p[i] == 0x7F)
      abort();
  if (!str_is_utf8(buf_str(&out)))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_ARENA struct arena arena = ARENA_INIT(4 * MIB);
  char *copy = arena_strdup(&arena, str_n((const char *)data, size));
  const char *words[MAX_WORDS];
  int count = 0;
  if (!copy)
    return 0;
  for (size_t at = 0; at <= size && count < MAX_WORDS; at++) {
    words[count++] = copy + at;
    while (at < size && copy[at] && copy[at] != '\n')
      at++;
    copy[at] = '\0';
  }
  struct args args;
  struct err err = {0};
  if (args_parse(&verb_table, count, words, &arena, &args, &err))
    check_flags(&args);
  else if (!err.text[0])
    abort();
  check_escaped(err.text);
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  complete_words(&verb_table, words, (size_t)count, NULL, NULL, &out);
  return 0;
}
