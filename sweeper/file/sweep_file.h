/* The sweep file: what a user writes, read by table into a struct, with places for every mistake, and its normal form.
 *
 * Accepted: our YAML (a superset of W&B's), W&B's own, a Katib Experiment, an Azure ML sweep job, the Batch AI utilities' JSON; YAML or
 * JSON. The others are first rewritten as a tree in our grammar whose nodes keep their places, so one reader and one set of messages serves
 * all. The search space itself is not judged here: `parameters`, `conditions`, `constraints` are handed on as JSON. */
#ifndef WINNOW_SWEEPER_SWEEP_FILE_H
#define WINNOW_SWEEPER_SWEEP_FILE_H

#include "sampler/sampler.h"
#include "sampler/space.h"
#include "sweeper/rules/stop.h"
#include "sweeper/spec/spec_table.h"

enum { SWEEP_FILE_BYTES_MAX = 1 << 20, SWEEP_NAME_MAX = 200, SWEEP_PARAMETERS_MAX = 1000 };

#define JOB_PARAMETER "_"

enum sweep_impute { IMPUTE_WORST, IMPUTE_BEST, IMPUTE_LATEST };
enum sweep_use { USE_LAST, USE_BEST, USE_MEAN_LAST_K };
enum sweep_method { METHOD_GRID, METHOD_RANDOM, METHOD_BAYES };
enum sweep_retry_on { RETRY_LOST = 1, RETRY_FAILED = 2 };
enum sweep_on_nan { NAN_WORST, NAN_FAIL, NAN_IGNORE };
enum sweep_register { REGISTER_BEST, REGISTER_EACH_BEST };
enum sweep_executor { EXECUTOR_LOCAL, EXECUTOR_SLURM };
enum sweep_workdir_mode { WORKDIR_COPY, WORKDIR_INPLACE };
enum sweep_args_style { ARGS_JSON, ARGS_PYTHON }; /* how true, false and null are written on the command line */
enum sweep_format { FORMAT_WINNOW, FORMAT_WANDB, FORMAT_KATIB, FORMAT_AZUREML, FORMAT_BATCHAI };

struct sweep_metric {
  struct str name;
  int goal; /* enum goal */
  double target;
  bool has_target;
  int use;
  int64_t last_k;
  struct spec_texts aliases;
  int impute;
  int impute_while_running; /* enum supposed */
};

struct sweep_sampler_spec {
  int type; /* enum sampler_type */
  int64_t seed;
  bool has_seed;
  int64_t n_startup, n_candidates, staleness;
  bool has_n_startup, has_n_candidates, has_staleness;
};

struct sweep_metrics_source {
  int stream; /* 0 stdout, 1 stderr, 2 both */
  bool has_stream;
  struct str file;
  struct str pattern;
  int format; /* json, csv, tfevents, text */
  bool has_format;
  struct str key, prefix;
  int when; /* always, end */
  bool builtin;
  bool has_builtin;
};

struct sweep_spec {
  struct str name, description, experiment, notes;
  struct str program;
  struct spec_texts command;
  bool has_command;
  int args_style;
  bool has_args_style;
  struct sweep_metric metric;
  bool has_metric;
  const struct ynode *parameters, *conditions, *constraints, *fixed_first, *prior;
  int method;
  bool has_method;
  struct sweep_sampler_spec sampler;
  struct spec_objects early_terminate; /* struct stop_conf */
  struct spec_objects metrics_from;    /* struct sweep_metrics_source */
  int64_t run_cap, max_parallel, max_failures, give_up_after;
  bool has_run_cap, has_max_parallel, has_max_failures;
  int64_t max_time, max_slot_time;
  bool has_max_time, has_max_slot_time;
  int on_nan; /* enum sweep_on_nan */
  struct {
    int64_t slots;
    uint64_t memory;
    bool has_memory;
    int64_t time;
    bool has_time;
  } resources;
  struct {
    int64_t max;
    unsigned on; /* enum sweep_retry_on */
  } retries;
  int64_t stop_grace;
  struct str workdir;
  int workdir_mode; /* enum sweep_workdir_mode */
  uint64_t workdir_max;
  struct spec_texts links;
  struct spec_pairs env, recorded_env;
  struct spec_texts inherit_env;
  bool tty;
  uint64_t log_max, log_spool_max;
  int log_policy; /* cut, slow */
  struct spec_texts artifacts;
  struct {
    struct str model, path;
    bool given;
    int when; /* enum sweep_register */
    double at_least, at_most;
    bool has_at_least, has_at_most;
  } register_model;
  int executor; /* enum sweep_executor */
  int64_t priority;
};

/* A file that was read. Its texts live in its own arena. */
struct sweep_file {
  struct arena arena;
  struct sweep_spec spec;
  enum sweep_format format;
  const struct ynode *root; /* in our grammar, with the places of the original */
  struct spec_problems warnings;
  struct space *space;
  bool is_job; /* of a single run: there is nothing to search, and the one parameter is JOB_PARAMETER */
};

/* `name` is the file's, for messages and as the default name of the sweep; "" for a request's body. On success the caller frees *ret with
 * sweep_file_free(). On failure *errors (zeroed by the callee; its texts are in `arena`) lists every mistake, and err holds the first:
 * `mnist.yaml:3:5: unknown key "paramters"`. */
MUST_CHECK bool sweep_file_read(struct str text, const char *name, struct arena *arena, struct sweep_file **ret,
                                struct spec_problems *errors, struct err *err);
/* The same for a single run. */
MUST_CHECK bool sweep_file_read_job(struct str text, struct arena *arena, struct sweep_file **ret, struct spec_problems *errors,
                                    struct err *err);
void sweep_file_free(struct sweep_file *file);

/* What is known only when it is submitted: the snapshot its jobs run on, and the submitter's PATH and the like (an object of texts). */
MUST_CHECK bool sweep_file_set_code(struct sweep_file *file, const char *sha256, struct err *err);
MUST_CHECK bool sweep_file_record_env(struct sweep_file *file, const json_t *env, struct err *err);

/* The normal form as JSON: a sweep file that reads as the same sweep, every default written out, keys in the order of the table. */
MUST_CHECK bool sweep_file_normal_form(const struct sweep_file *file, struct buf *out, struct err *err);
/* `{"parameters": …, "conditions": …, "constraints": …}` as the sampler takes them. The caller owns it. */
MUST_CHECK bool sweep_file_space(const struct sweep_file *file, json_t **ret, struct err *err);
/* What the stop rules compare by. Borrowed from the file. */
struct stop_goal sweep_file_goal(const struct sweep_file *file);
/* `name:line:column: message` of a problem into err, the hint too. Returns false. */
bool sweep_file_fail(const char *name, const struct spec_problem *problem, struct err *err);

/* A mistake that shows only when the file is submitted gets the line and column of the key that err->path names. Returns false. */
bool sweep_file_place(const struct sweep_file *file, struct err *err);
/* Such a mistake reads as one of the reader. Returns false. */
bool sweep_file_fail_placed(const char *name, struct err *err);

/* The JSON Schema for editors. */
MUST_CHECK bool sweep_file_schema(struct buf *out, struct err *err);

#endif
