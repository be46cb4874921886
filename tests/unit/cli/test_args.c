/* args, verb, help, completion: what is derived from the table. */
#include "base/mem.h"
#include "cli/args.h"
#include "cli/completion.h"
#include "cli/help.h"
#include "tests/support/test.h"

struct parsed {
  struct arena arena;
  struct args args;
  struct err err;
  bool ok;
};

/* `line` is split at blanks. */
static void parse(struct parsed *p, const char *line) {
  const char *words[32];
  int count = 0;
  arena_init(&p->arena, MIB);
  struct str rest = str_of(line), word;
  while (str_split(&rest, ' ', &word))
    if (word.n)
      words[count++] = arena_strdup(&p->arena, word);
  p->err = (struct err){0};
  p->args = (struct args){0};
  p->ok = args_parse(&verb_table, count, words, &p->arena, &p->args, &p->err);
}

static void parse_ok(struct parsed *p, const char *line) {
  parse(p, line);
  if (!p->ok)
    fail_msg("%s: %s", line, p->err.text);
}

static void flags_stand_anywhere(void **state UNUSED) {
  static const char *const lines[] = {"-o json --url http://x run ls -n 7 -q", "run -o json ls --limit=7 --url=http://x --quiet",
                                      "run ls -qn7 -ojson --url http://x", "runs list --limit 3 -n 7 -q --output json --url http://x",
                                      "run ls -n=7 -o=json -q=true --url http://x"};
  for (size_t i = 0; i < ARRAY_LEN(lines) - 1; i++) {
    struct parsed p;
    parse_ok(&p, lines[i]);
    assert_string_equal(p.args.verb->name, "ls");
    assert_string_equal(args_text(&p.args, "output"), "json");
    assert_string_equal(args_text(&p.args, "url"), "http://x");
    assert_true(args_bool(&p.args, "quiet"));
    assert_false(args_bool(&p.args, "yes"));
    assert_int_equal(args_i64(&p.args, "limit", 0), 7);
    arena_release(&p.arena);
  }
  struct parsed p;
  parse(&p, lines[ARRAY_LEN(lines) - 1]); /* a row of switches takes no value */
  assert_false(p.ok);
  arena_release(&p.arena);
}

static void words_and_hyphens(void **state UNUSED) {
  struct parsed p;
  parse_ok(&p, "run show -- -x");
  assert_string_equal(args_word(&p.args, 0), "-x");
  arena_release(&p.arena);
  parse_ok(&p, "sweep create - --dry-run");
  assert_string_equal(args_word(&p.args, 0), "-");
  arena_release(&p.arena);
  parse_ok(&p, "run launch -f --slots 2 -- python3 -o json -- x");
  assert_int_equal(p.args.word_count, 5);
  assert_string_equal(args_word(&p.args, 1), "-o");
  assert_true(args_bool(&p.args, "follow"));
  arena_release(&p.arena);
  parse_ok(&p, "run launch python3 --slots 3");
  assert_int_equal(p.args.word_count, 3);
  assert_int_equal(args_i64(&p.args, "slots", 0), 1);
  arena_release(&p.arena);
  parse_ok(&p, "queue -w");
  assert_null(p.args.verb->name);
  arena_release(&p.arena);
  parse_ok(&p, "queue hold abc");
  assert_string_equal(p.args.verb->name, "hold");
  arena_release(&p.arena);
}

static void repeatable_flags_keep_their_order(void **state UNUSED) {
  struct parsed p;
  static const char *const expected[] = {"a=1", "b=2", "c=3"};
  parse_ok(&p, "run launch --env a=1 --env=b=2 --env c=3 -- x");
  size_t at = 0, n = 0;
  for (const char *value; (value = args_each(&p.args, "env", &at)); n++)
    assert_string_equal(value, expected[n]);
  assert_int_equal(n, 3);
  arena_release(&p.arena);
}

static void help_is_heard_everywhere(void **state UNUSED) {
  static const char *const lines[] = {"--help",  "-h", "sweep --help", "--help sweep create", "sweep create -h", "run launch --help",
                                      "queue -h"};
  for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
    struct parsed p;
    parse_ok(&p, lines[i]);
    assert_true(p.args.wants_help);
    arena_release(&p.arena);
  }
}

static void mistakes_are_told_with_a_way_out(void **state UNUSED) {
  static const struct {
    const char *line, *text, *hint;
  } rows[] = {
      {"swepe ls", "there is no command 'swepe'", "did you mean winnow sweep?"},
      {"zzzzzz", "there is no command", "--help lists them"},
      {"__complet", "there is no command", "--help lists them"},
      {"run lss", "winnow run has no verb 'lss'", "did you mean winnow run ls?"},
      {"run ls --limti 3", "unknown flag --limti", "did you mean --limit?"},
      {"run ls --limti=3", "unknown flag --limti", "did you mean --limit?"},
      {"run ls -Z", "unknown flag -Z", "see --help"},
      {"--limit 3 run ls", "unknown flag --limit", "after it"},
      {"run ls --limit", "--limit needs a value", "--limit N"},
      {"run ls -n -3", "whole number", ""},
      {"run ls --state DONE", "--state does not know 'DONE'", "known are"},
      {"run ls --state RUNNNG", "--state", "did you mean 'RUNNING'"},
      {"sweep wait x --timeout soon", "duration", "90s"},
      {"run launch --memory lots x", "size", "2GB"},
      {"run show", "RUN is missing", "for example"},
      {"run show a b", "'b' is one word too many", "write winnow run show RUN"},
      {"run show a b", "'b' is one word too many", "winnow run show --help"},
      {"run ls --deleted=perhaps", "switch", ""},
      {"run compare a", "RUN is missing", ""},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct parsed p;
    parse(&p, rows[i].line);
    assert_false(p.ok);
    if (!strstr(p.err.text, rows[i].text) || !strstr(p.err.hint, rows[i].hint))
      fail_msg("%s: %s (%s)", rows[i].line, p.err.text, p.err.hint);
    arena_release(&p.arena);
  }
}

static void no_memory_is_an_error(void **state UNUSED) {
  for (unsigned long n = 1; n < 4; n++) {
    struct parsed p;
    const char *words[] = {"run", "ls", "-n", "3"};
    arena_init(&p.arena, MIB);
    mem_fail_at(n, true);
    bool ok = args_parse(&verb_table, 4, words, &p.arena, &p.args, &p.err);
    mem_fail_at(0, false);
    assert_true(ok || p.err.code == ERR_TOO_LARGE);
    arena_release(&p.arena);
  }
}

/* ---- the table itself ---- */

static void every_row_is_complete(void **state UNUSED) {
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(&verb_table, NULL, &at));) {
    const char *name = verb->name ? verb->name : verb->noun;
    assert_non_null(noun_find(&verb_table, str_of(verb->noun)));
    if (!verb->summary || !verb->help || !verb->run || !verb->examples[0].command)
      fail_msg("%s %s: something is missing", verb->noun, name);
    if (verb->summary[strlen(verb->summary) - 1] == '.' || verb->help[strlen(verb->help) - 1] != '.')
      fail_msg("%s %s: a summary has no full stop, a help ends with one", verb->noun, name);
    for (size_t i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++)
      if (!strstr(verb->examples[i].command, "winnow ") || !verb->examples[i].meaning)
        fail_msg("%s %s: example %zu", verb->noun, name, i);
    for (size_t i = 0; i < verb->flag_count; i++) {
      const struct flag_row *flag = &verb->flags[i];
      if (!flag->help || (flag->type == FLAG_CHOICE) != (flag->choices != NULL) ||
          (flag->type != FLAG_BOOL && flag->type != FLAG_CHOICE && flag->type != FLAG_DURATION && !flag->value_name))
        fail_msg("%s %s: --%s", verb->noun, name, flag->name);
      for (size_t k = 0; k < verb_table.global_count; k++)
        if (strcmp(flag->name, verb_table.globals[k].name) == 0 || (flag->letter && flag->letter == verb_table.globals[k].letter))
          fail_msg("%s %s: --%s hides a global flag", verb->noun, name, flag->name);
      for (size_t k = 0; k < i; k++)
        if (strcmp(flag->name, verb->flags[k].name) == 0 || (flag->letter && flag->letter == verb->flags[k].letter))
          fail_msg("%s %s: --%s is there twice", verb->noun, name, flag->name);
    }
  }
}

/* Examples are parsed as they are shown, up to what belongs to the shell. */
static void every_example_parses(void **state UNUSED) {
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(&verb_table, NULL, &at));) {
    for (size_t i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++) {
      const char *command = verb->examples[i].command;
      if (strncmp(command, "winnow ", 7) != 0 || strpbrk(command, "'\"|<>$"))
        continue;
      struct parsed p;
      parse(&p, command + 7);
      if (!p.ok || p.args.verb != verb)
        fail_msg("%s: %s", command, p.ok ? "another verb" : p.err.text);
      arena_release(&p.arena);
    }
  }
}

static void names_and_aliases_are_unique(void **state UNUSED) {
  const struct verb *verb, *other;
  for (size_t at = 0; (verb = verb_next(&verb_table, NULL, &at));) {
    const struct noun *noun = noun_find(&verb_table, str_of(verb->noun));
    size_t found = 0;
    for (size_t k = 0; (other = verb_next(&verb_table, noun, &k));)
      found += word_matches(verb->name ? str_of(verb->name) : STR_NONE, other->name, other->aliases);
    assert_int_equal(found, 1);
    struct str rest = str_of(verb->aliases), alias;
    while (str_split(&rest, ' ', &alias))
      assert_ptr_equal(verb_find(&verb_table, noun, alias), verb);
  }
}

static void help_and_man_say_everything(void **state UNUSED) {
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(&verb_table, NULL, &at));) {
    AUTO_BUF struct buf help = BUF_INIT(MIB), man = BUF_INIT(MIB);
    help_verb(&verb_table, verb, false, &help);
    man_verb(&verb_table, verb, &man);
    assert_true(!help.fail && !man.fail);
    assert_non_null(strstr(buf_text(&help), verb->examples[0].command));
    assert_true(strncmp(buf_text(&man), ".TH ", 4) == 0);
    for (size_t i = 0; i < verb->flag_count; i++)
      assert_non_null(strstr(buf_text(&help), verb->flags[i].name));
    for (struct str rest = buf_str(&help), line; str_split(&rest, '\n', &line);)
      if (line.n > 140)
        fail_msg("%s: %.*s", verb->noun, STR_ARG(line));
  }
}

/* ---- completion ---- */

static void some_ids(void *ctx, enum word_kind kind, struct buf *out) {
  unsigned *asked = ctx;
  *asked |= 1u << kind;
  if (kind == WORD_RUN)
    buf_puts(out, "0193aa\tfirst\n0193bb\tsecond\n");
}

static void complete_line(const char *line, unsigned *asked, struct buf *out) {
  const char *words[16];
  size_t count = 0;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct str rest = str_of(line), word;
  while (str_split(&rest, ' ', &word))
    words[count++] = arena_strdup(&arena, word);
  buf_reset(out);
  complete_words(&verb_table, words, count, some_ids, asked, out);
}

static void completion_answers_from_the_table(void **state UNUSED) {
  static const struct {
    const char *line, *has, *has_not;
  } rows[] = {
      {"", "sweep\t", "__complete"},
      {"swe", "sweep\t", "run\t"},
      {"sweep ", "create\t", "ls2"},
      {"sweep cr", "create\t", "ls\t"},
      {"run show ", "0193aa\t", ":files"},
      {"run show 0193b", "0193bb\t", "0193aa"},
      {"run ls --", "--limit\t", "--env"},
      {"run ls --state ", "FAILED\t", ""},
      {"run ls --state=FA", "--state=FAILED\t", "RUNNING"},
      {"-o ", "yaml\t", "sweep"},
      {"-o json ", "sweep\t", "yaml"},
      {"sweep create ", ":files", "sweep"},
      {"run ls -o = js", "json\t", "sweep"},
      {"completion ", "fish\t", "sweep"},
      {"help sw", "sweep\t", "create"},
      {"run compare x 0193", "0193aa", "ls"},
      {"run show -- 0193", "0193aa", "--"},
      {"queue ", "hold\t", "queue\t"},
  };
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    unsigned asked = 0;
    complete_line(rows[i].line, &asked, &out);
    if (!strstr(buf_text(&out), rows[i].has) || (rows[i].has_not[0] && strstr(buf_text(&out), rows[i].has_not)))
      fail_msg("'%s' gives: %s", rows[i].line, buf_text(&out));
  }
  unsigned asked = 0;
  complete_line("run show x y ", &asked, &out); /* nothing more fits, so nobody is asked */
  assert_int_equal(asked, 0);
  assert_int_equal(out.n, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flags_stand_anywhere),
      cmocka_unit_test(words_and_hyphens),
      cmocka_unit_test(repeatable_flags_keep_their_order),
      cmocka_unit_test(help_is_heard_everywhere),
      cmocka_unit_test(mistakes_are_told_with_a_way_out),
      cmocka_unit_test(no_memory_is_an_error),
      cmocka_unit_test(every_row_is_complete),
      cmocka_unit_test(every_example_parses),
      cmocka_unit_test(names_and_aliases_are_unique),
      cmocka_unit_test(help_and_man_say_everything),
      cmocka_unit_test(completion_answers_from_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
