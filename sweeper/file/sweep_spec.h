/* What a sweep file says, whoever's format it was, as the reader leaves it: every default filled in, texts in the file's arena. */
#ifndef WINNOW_SWEEPER_SWEEP_SPEC_H
#define WINNOW_SWEEPER_SWEEP_SPEC_H

#include "sweeper/spec/spec_table.h"

enum { SWEEP_PARAMETERS_MAX = 1000 };

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
  bool has_impute_while_running;
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

#endif
