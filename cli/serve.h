/* The service's own verbs, and what the command line asks of them. serve.c is the composition root; when it is part of the build
 * (WINNOW_WITH_SERVE) its rows are part of the table. */
#ifndef WINNOW_CLI_SERVE_H
#define WINNOW_CLI_SERVE_H

#include "base/buf.h"

struct cli;

/* `winnow serve [settings]`: args.words holds the settings as typed. */
int serve_run(struct cli *cli);
/* `winnow up FILE`: a service in the background if none answers, then sweep_submit() and sweep_follow(). */
int up_run(struct cli *cli);
int down_run(struct cli *cli);
/* `winnow open`: the page, with a one-time link. */
int open_run(struct cli *cli);
/* Every setting with type, default, bounds and help: conf_print_help() over the modules' tables. */
void serve_print_settings(struct buf *out);

#endif
