/* winnow exec: hands over to the small program that runs one attempt. */
#include "cli/companion.h"
#include "cli/verbs.h"

enum { PATH_SIZE = 4096, WORDS_MAX = 8 };

void companion_find(struct buf *out) {
  char self[PATH_SIZE];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0)
    return;
  self[n] = 0;
  *strrchr(self, '/') = 0;
  buf_printf(out, "%s/winnow-exec", self);
  if (!out->fail && access(buf_text(out), X_OK) == 0)
    return;
  buf_reset(out);
  buf_printf(out, "%s/../libexec/winnow-exec", self);
}

static int exec_run(struct cli *cli) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  char name[] = "winnow-exec", *argv[WORDS_MAX + 2] = {name};
  struct err err;
  if (cli->args.word_count > WORDS_MAX)
    return cli_usage(cli, NULL, "more than %d arguments", WORDS_MAX);
  for (size_t i = 0; i < cli->args.word_count; i++)
    argv[i + 1] = (char *)(uintptr_t)cli->args.words[i];
  companion_find(&path);
  if (!buf_ok(&path, &err))
    return cli_fail(cli, &err);
  execv(buf_text(&path), argv);
  err_errno(&err, errno, "cannot run %s", buf_text(&path));
  return cli_fail(cli, &err);
}

static const struct verb rows[] = {
    {
        .noun = "exec",
        .summary = "run one attempt of a job (internal)",
        .help = "What the service starts for each attempt. It hands over to winnow-exec, the small program beside this one.",
        .examples = {{"winnow exec DIR/jobs/0193b2f3c4d5e6f70193b2f3c4d5e6f7/1/job", "as the service does it"}},
        .words = {{"JOB-FILE", WORD_FILE, .optional = true, .many = true}},
        .kind = VERB_RAW | VERB_HIDDEN,
        .run = exec_run,
    },
};

const struct verb_set exec_verbs = {rows, ARRAY_LEN(rows)};
