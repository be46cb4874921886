/* What Winnow reads in a log, without a service. */
#include "cli/verbs.h"
#include "tracker/logs/parse_file.h"

enum { PATTERNS_MAX = 64 };

static void tell_unreadable(void *ctx, const struct err *err) {
  const struct cli *cli = ctx;
  output_error(&cli->output, err, NULL, NULL);
}

static int parse_verb_run(struct cli *cli) {
  const char *patterns[PATTERNS_MAX];
  struct parse_options options = {.files = cli->args.words,
                                  .file_count = cli->args.word_count,
                                  .patterns = patterns,
                                  .no_builtin = args_bool(&cli->args, "no-builtin"),
                                  .out_fd = STDOUT_FILENO,
                                  .on_unreadable = tell_unreadable,
                                  .ctx = cli};
  struct err err;
  const char *pattern;
  for (size_t at = 0; (pattern = args_each(&cli->args, "pattern", &at));) {
    if (options.pattern_count == PATTERNS_MAX)
      return cli_usage(cli, NULL, "more than %d patterns", PATTERNS_MAX);
    patterns[options.pattern_count++] = pattern;
  }
  switch (cli->output.format) {
  case OUTPUT_TABLE:
  case OUTPUT_WIDE:
    options.output = PARSE_TABLE;
    break;
  case OUTPUT_JSON:
  case OUTPUT_JSONL:
    options.output = PARSE_JSONL;
    break;
  case OUTPUT_CSV:
  case OUTPUT_YAML:
  case OUTPUT_NAME:
    return cli_usage(cli, "-o table or -o jsonl", "a log's points are shown as a table or as JSON lines");
  }
  return cli_done(cli, parse_run(&options, &err), &err);
}

static const struct flag_row parse_flags[] = {
    {.name = "pattern",
     .type = FLAG_TEXT,
     .value_name = "RE",
     .repeatable = true,
     .help = "a regular expression of yours, with groups: (?P<loss>\\S+), or (?P<name>..) and (?P<value>..), step, epoch, time"},
    {.name = "no-builtin", .type = FLAG_BOOL, .help = "only your patterns, not what is recognised by itself"},
};

static const struct verb rows[] = {
    {
        .noun = "parse",
        .summary = "show the metrics Winnow reads in a log, without a service",
        .help =
            "Every point with the line it stands on, and below the table what was recognised. Reads standard input when no file is named.",
        .examples = {{"winnow parse train.log", "what a sweep would see in this log"},
                     {"python3 train.py 2>&1 | winnow parse", "as it is printed"},
                     {"winnow parse -o jsonl --pattern 'acc=(?P<acc>\\S+)' train.log", "with a pattern of yours, for a program"}},
        FLAGS(parse_flags),
        .words = {{"FILE", WORD_FILE, .optional = true, .many = true}},
        .run = parse_verb_run,
    },
};

const struct verb_set parse_verbs = {rows, ARRAY_LEN(rows)};
