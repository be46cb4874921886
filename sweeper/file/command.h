/* From a trial's point to the argument list and the environment of its job. Never a shell: an argument stays one argument, whatever is in
 * it.
 *
 * In each item of a command:
 *   an item that is exactly one W&B macro becomes the arguments the macro stands for: ${env} ${interpreter} ${program} ${args}
 *     ${args_no_equals} ${args_no_hyphens} ${args_append_hydra} ${args_override_hydra} ${args_no_boolean_flags} ${args_json}
 * ${args_json_file}; inside a longer item these stay as they are, as W&B has it
 *   ${envvar:NAME} anywhere becomes the variable's value, or NAME when it is not set
 *   {{name}} anywhere becomes the parameter's value, {{outer.inner}} for nested ones; an item that names a parameter which is not active at
 *     this point is left out
 *   PARAM_<NAME> anywhere, as a whole word and not after $ or ${, becomes the value of that parameter
 * Numbers are the shortest text that reads back as the same double. */
#ifndef WINNOW_SWEEPER_COMMAND_H
#define WINNOW_SWEEPER_COMMAND_H

#include "sweeper/file/sweep_spec.h"

enum {
  COMMAND_ITEM_MAX = 128 * 1024 - 1, /* what the kernel takes as one argument or variable */
  COMMAND_TOTAL_MAX = 1 << 20,
  COMMAND_ITEMS_MAX = 20000,
};

/* At submit: every macro is known, every {{name}} is a parameter. `parameters` is the space's object (names to definitions). */
MUST_CHECK bool command_check(const struct spec_texts *command, const json_t *parameters, struct err *err);
/* The same for one item, or for the value of a variable. */
MUST_CHECK bool command_check_item(struct str item, const json_t *parameters, struct err *err);

struct command_point {
  const json_t *params; /* the trial's values: an object; nested objects are nested parameters */
  struct str program;
  struct str interpreter;             /* what ${interpreter} is: "python3" where there is no python */
  struct str json_file;               /* where the caller has put command_json(), for ${args_json_file} */
  const struct spec_pairs *variables; /* for ${envvar:…}; may be NULL */
  int style;                          /* enum sweep_args_style */
};

/* Arguments, each ended by a NUL, in `arena`. */
MUST_CHECK bool command_build(const struct spec_texts *command, const struct command_point *point, struct arena *arena,
                              struct spec_texts *ret, struct err *err);
/* The text of a value as ${args} writes it. */
void command_value(const json_t *value, int style, struct buf *out);
/* All parameters as one JSON object. */
void command_json(const json_t *params, struct buf *out);
/* What WANDB_SWEEP_PARAM_PATH names: YAML of `p: {value: v}`. */
void command_wandb_file(const json_t *params, struct buf *out);

struct command_job {
  struct str url, token, run_id, sweep_id; /* sweep_id without p: a single run */
  int64_t trial, attempt;
  struct str experiment_id, experiment_name;
  struct str checkpoint_dir, wandb_file;
  const struct spec_pairs *devices;   /* the variables that show it its GPUs; NULL or none: nothing is said about them */
  const struct spec_pairs *inherited; /* the executor's own environment: only names of the allow-list are taken */
  const struct spec_texts *inherit_also;
  const struct spec_pairs *recorded; /* PATH, VIRTUAL_ENV, ... as they were at submit */
  const struct spec_pairs *user;     /* the sweep file's env; {{name}} and PARAM_ are filled in */
};

/* The whole environment of the job, each name once. Later wins: inherited, recorded, ours, the user's; but WINNOW_*, PARAM_* and the
 * devices are always ours. */
MUST_CHECK bool command_environment(const struct command_job *job, const struct command_point *point, struct arena *arena,
                                    struct spec_pairs *ret, struct err *err);
/* Whether a variable is taken over from the executor's environment. */
bool command_inherits(struct str name, const struct spec_texts *also);
/* Whether a variable is always ours, whatever the user's `env` says. */
bool command_keeps(struct str name);
/* "batch-size" -> "PARAM_BATCH_SIZE" */
void command_param_name(struct str name, struct buf *out);

#endif
