/* parse_tool [-o table|jsonl] [--pattern RE]... [FILE...] */
#include "tracker/logs/parse_file.h"

enum { LIST_MAX = 256 };

int main(int argc, char **argv) {
  static const char *files[LIST_MAX], *patterns[LIST_MAX];
  struct parse_options options = {.files = files, .patterns = patterns, .out_fd = STDOUT_FILENO};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
      options.output = strcmp(argv[++i], "jsonl") == 0 ? PARSE_JSONL : PARSE_TABLE;
    } else if (strcmp(argv[i], "--pattern") == 0 && i + 1 < argc && options.pattern_count < LIST_MAX) {
      patterns[options.pattern_count++] = argv[++i];
    } else if (options.file_count < LIST_MAX) {
      files[options.file_count++] = argv[i];
    }
  }
  struct err err = {0};
  if (parse_run(&options, &err))
    return 0;
  fprintf(stderr, "parse_tool: %s\n", err.text);
  if (err.hint[0])
    fprintf(stderr, "%s\n", err.hint);
  return 1;
}
