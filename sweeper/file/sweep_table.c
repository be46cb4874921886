#include "sweeper/file/sweep_table.h"

#include "sweeper/file/sweep_file.h"
#include "sweeper/file/sweep_sources.h"

#define AT(type, field) .offset = offsetof(struct type, field)
#define GIVEN(type, field) .given_at = offsetof(struct type, field)

static const char *const goals[] = {"minimize", "maximize", NULL};
static const char *const uses[] = {"last", "best", "mean_last_k", NULL};
static const char *const imputes[] = {"worst", "best", "latest", NULL};
static const char *const imputes_running[] = {"false", "worst", "best", "latest", NULL};

static const struct spec_row metric_rows[] = {
    {"name", SPEC_TEXT, .flags = SPEC_REQUIRED | SPEC_BARE, AT(sweep_metric, name), .max = 500,
     .help = "the metric to optimise, as it is reported"},
    {"goal", SPEC_CHOICE, AT(sweep_metric, goal), .default_text = "minimize", .choices = goals, .help = "minimize or maximize"},
    {"target", SPEC_NUMBER, AT(sweep_metric, target), GIVEN(sweep_metric, has_target), .help = "no new trials once one has reported this"},
    {"use", SPEC_CHOICE, AT(sweep_metric, use), .default_text = "last", .choices = uses, .help = "which of a trial's reports is its value"},
    {"last_k", SPEC_INT, AT(sweep_metric, last_k), .min = 1, .max = 1e6, .default_text = "5", .help = "how many reports mean_last_k takes"},
    {"aliases", SPEC_TEXTS, AT(sweep_metric, aliases), .min = 0, .max = 20, .help = "other names of the same metric"},
    {"impute", SPEC_CHOICE, AT(sweep_metric, impute), .default_text = "worst", .choices = imputes,
     .help = "the value of a failed trial in the sampler's eyes"},
    {"impute_while_running", SPEC_CHOICE, AT(sweep_metric, impute_while_running), GIVEN(sweep_metric, has_impute_while_running),
     .default_text = "'false'", .choices = imputes_running,
     .help = "the value of a running trial in the sampler's eyes: the worst or best of those that finished, or what it reported last; "
             "default with sampler tpe and early_terminate: latest"},
};
static const struct spec_table metric_table = {"metric", metric_rows, ARRAY_LEN(metric_rows), sizeof(struct sweep_metric)};

static const char *const samplers[] = {"auto", "tpe", "gp", "cmaes", "sobol", "halton", "random", "grid", NULL};

static const struct spec_row sampler_rows[] = {
    {"type", SPEC_CHOICE, .flags = SPEC_BARE, AT(sweep_sampler_spec, type), .default_text = "auto", .choices = samplers,
     .help = "how points are chosen; auto picks by space and number of trials"},
    {"seed", SPEC_INT, AT(sweep_sampler_spec, seed), GIVEN(sweep_sampler_spec, has_seed),
     .help = "the same seed and results give the same trials; default: drawn at submit and shown"},
    {"n_startup", SPEC_INT, AT(sweep_sampler_spec, n_startup), GIVEN(sweep_sampler_spec, has_n_startup), .min = 0, .max = 100000,
     .help = "results before the model is used; default: 10"},
    {"n_candidates", SPEC_INT, AT(sweep_sampler_spec, n_candidates), GIVEN(sweep_sampler_spec, has_n_candidates), .min = 1, .max = 100000,
     .help = "points TPE compares for one suggestion, 256 of them at most; default: 24"},
    {"staleness", SPEC_INT, AT(sweep_sampler_spec, staleness), GIVEN(sweep_sampler_spec, has_staleness), .min = 0, .max = 100000,
     .help = "results a suggestion prepared ahead may lack; default: the number of workers"},
};
static const struct spec_table sampler_table = {"sampler", sampler_rows, ARRAY_LEN(sampler_rows), sizeof(struct sweep_sampler_spec)};

#define RESOURCES(field) .offset = offsetof(struct sweep_spec, field) - offsetof(struct sweep_spec, resources)
static const struct spec_row resource_rows[] = {
    {"slots", SPEC_INT, .flags = SPEC_BARE, RESOURCES(resources.slots), .min = 1, .max = 1024, .default_text = "1", .alias = "gpus",
     .help = "GPUs, or shares of the CPUs, that one trial gets"},
    {"memory", SPEC_SIZE, RESOURCES(resources.memory),
     .given_at = offsetof(struct sweep_spec, resources.has_memory) - offsetof(struct sweep_spec, resources), .min = 1,
     .help = "a trial above this is ended"},
    {"time", SPEC_DURATION, RESOURCES(resources.time),
     .given_at = offsetof(struct sweep_spec, resources.has_time) - offsetof(struct sweep_spec, resources), .min = 1000,
     .help = "an attempt that takes longer is ended"},
};
static const struct spec_table resources_table = {"resources", resource_rows, ARRAY_LEN(resource_rows),
                                                  sizeof(((struct sweep_spec *)0)->resources)};

static const char *const retry_reasons[] = {"lost", "failed", NULL};
#define RETRIES(field) .offset = offsetof(struct sweep_spec, field) - offsetof(struct sweep_spec, retries)
static const struct spec_row retry_rows[] = {
    {"max", SPEC_INT, .flags = SPEC_BARE, RETRIES(retries.max), .min = 0, .max = 1000, .default_text = "0",
     .help = "further attempts of one trial"},
    {"on", SPEC_FLAGS, RETRIES(retries.on), .default_text = "[lost]", .choices = retry_reasons, .help = "what is tried again"},
};
static const struct spec_table retries_table = {"retries", retry_rows, ARRAY_LEN(retry_rows), sizeof(((struct sweep_spec *)0)->retries)};

static const char *const register_whens[] = {"best", "each_best", NULL};
#define REGISTER(field) offsetof(struct sweep_spec, register_model.field) - offsetof(struct sweep_spec, register_model)
static const struct spec_row register_rows[] = {
    {"model", SPEC_TEXT, .flags = SPEC_REQUIRED | SPEC_BARE, .offset = REGISTER(model), .max = 256, .help = "name of the registered model"},
    {"path", SPEC_TEXT, .offset = REGISTER(path), .default_text = "model", .max = 1000,
     .help = "the artifact that becomes the version; \".\": all that the trial has stored"},
    {"when", SPEC_CHOICE, .offset = REGISTER(when), .default_text = "best", .choices = register_whens,
     .help = "the best trial once, at the end, or each new best"},
    {"metric_at_least", SPEC_NUMBER, .offset = REGISTER(at_least), .given_at = REGISTER(has_at_least),
     .help = "register only from this value up"},
    {"metric_at_most", SPEC_NUMBER, .offset = REGISTER(at_most), .given_at = REGISTER(has_at_most),
     .help = "register only from this value down"},
};
static const struct spec_table register_table = {"register", register_rows, ARRAY_LEN(register_rows),
                                                 sizeof(((struct sweep_spec *)0)->register_model)};

const char *const sweep_methods[] = {"grid", "random", "bayes", NULL};
static const char *const styles[] = {"json", "python", NULL};
static const char *const nan_policies[] = {"worst", "fail", "ignore", NULL};
static const char *const workdir_modes[] = {"copy", "inplace", NULL};
static const char *const log_policies[] = {"cut", "slow", NULL};
static const char *const executors[] = {"local", "slurm", NULL};

#define SPEC(field) .offset = offsetof(struct sweep_spec, field)
#define HAS(field) .given_at = offsetof(struct sweep_spec, field)
#define IGNORED(name, why) \
  { name, SPEC_TREE, .flags = SPEC_IGNORED | SPEC_WANDB, .help = why }

static const struct spec_row sweep_rows[] = {
    {"name", SPEC_TEXT, .flags = SPEC_WANDB, SPEC(name), .max = SWEEP_NAME_MAX, .help = "default: the file's name"},
    {"description", SPEC_TEXT, .flags = SPEC_WANDB, SPEC(description), .max = 10000, .help = "free text"},
    {"experiment", SPEC_TEXT, .flags = SPEC_WANDB, SPEC(experiment), .max = SWEEP_NAME_MAX, .alias = "project",
     .help = "the folder its runs go to; default: the sweep's name"},
    {"notes", SPEC_TEXT, SPEC(notes), .max = 100000, .help = "free text, also to be changed later"},
    {"program", SPEC_TEXT, .flags = SPEC_WANDB, SPEC(program), .max = 4000, .help = "the script; without `command` it is run as W&B would"},
    {"command", SPEC_ARGV, .flags = SPEC_WANDB, SPEC(command), HAS(has_command), .min = 1, .max = 1000,
     .help = "the arguments, one an item; ${macros} and {{parameter}} are filled in; never a shell"},
    {"args_style", SPEC_CHOICE, SPEC(args_style), HAS(has_args_style), .choices = styles,
     .help = "how true, false and null are written: json (true) or python (True, as W&B does)"},
    {"metric", SPEC_OBJECT, .flags = SPEC_WANDB, SPEC(metric), HAS(has_metric), .sub = &metric_table, .help = "what is optimised"},
    {"parameters", SPEC_TREE, .flags = SPEC_WANDB | SPEC_REQUIRED, SPEC(parameters), .help = "the search space"},
    {"conditions", SPEC_TREE, SPEC(conditions), .help = "parameters that exist only when another has some value"},
    {"constraints", SPEC_TREE, SPEC(constraints), .help = "expressions that every point satisfies"},
    {"method", SPEC_CHOICE, .flags = SPEC_WANDB, SPEC(method), HAS(has_method), .choices = sweep_methods, .help = "grid, random or bayes"},
    {"sampler", SPEC_OBJECT, SPEC(sampler), .sub = &sampler_table, .help = "the method in detail"},
    {"fixed_first", SPEC_TREE, SPEC(fixed_first), .help = "points that are tried first; what they leave out is sampled"},
    {"prior", SPEC_TREE, SPEC(prior), .help = "sweeps, or a filter of runs, whose results the sampler starts from"},
    {"early_terminate", SPEC_OBJECTS, .flags = SPEC_WANDB, SPEC(early_terminate), .min = 0, .max = STOP_RULES_MAX, .sub = &stop_conf_table,
     .help = "rules that stop a trial; any that fires is enough"},
    {"metrics_from", SPEC_OBJECTS, SPEC(metrics_from), .min = 0, .max = 50, .sub = &sweep_source_table,
     .help = "where metrics are read; default: both streams with the built-in patterns"},
    {"run_cap", SPEC_INT, .flags = SPEC_WANDB, SPEC(run_cap), HAS(has_run_cap), .min = 1, .max = STOP_TRIALS_MAX,
     .help = "trials of the whole sweep, retries not counted"},
    {"max_time", SPEC_DURATION, SPEC(max_time), HAS(has_max_time), .min = 1000, .help = "no new trials after this time"},
    {"max_slot_time", SPEC_DURATION, SPEC(max_slot_time), HAS(has_max_slot_time), .min = 1000,
     .help = "no new trials after so much time on all slots together"},
    {"max_parallel", SPEC_INT, SPEC(max_parallel), HAS(has_max_parallel), .min = 1, .max = SWEEP_PARALLEL_MAX,
     .help = "trials at once; default: as many as fit"},
    {"max_failures", SPEC_INT, SPEC(max_failures), HAS(has_max_failures), .min = 1, .max = STOP_TRIALS_MAX,
     .help = "the sweep fails after so many failed trials"},
    {"give_up_after", SPEC_INT, SPEC(give_up_after), .min = 0, .max = 100000, .default_text = "5",
     .help = "the sweep fails when so many trials have failed, and none has ended well or reports its metric; 0: never"},
    {"on_nan", SPEC_CHOICE, SPEC(on_nan), .default_text = "worst", .choices = nan_policies,
     .help = "what a trial whose value is NaN counts as"},
    {"resources", SPEC_OBJECT, SPEC(resources), .sub = &resources_table, .help = "what one trial gets"},
    {"retries", SPEC_OBJECT, SPEC(retries), .sub = &retries_table, .help = "when a trial is tried again"},
    {"stop_grace", SPEC_DURATION, SPEC(stop_grace), .min = 0, .max = 86400000, .default_text = "10s",
     .help = "time between TERM and KILL; without a command, so long a worker may still tell"},
    {"workdir", SPEC_TEXT, SPEC(workdir), .default_text = "'.'", .max = 4000, .help = "copied at submit; every attempt gets its own copy"},
    {"workdir_mode", SPEC_CHOICE, SPEC(workdir_mode), .default_text = "copy", .choices = workdir_modes,
     .help = "inplace runs in the directory itself"},
    {"workdir_max", SPEC_SIZE, SPEC(workdir_max), .default_text = "256MB", .min = 1, .help = "a larger directory is not copied"},
    {"links", SPEC_TEXTS, SPEC(links), .min = 0, .max = 1000, .help = "not copied: symbolic links to the original"},
    {"env", SPEC_PAIRS, SPEC(env), .help = "variables of the job's environment"},
    {"recorded_env", SPEC_PAIRS, SPEC(recorded_env),
     .help = "PATH, VIRTUAL_ENV and the like as they were where it was submitted; `env` goes before"},
    {"inherit_env", SPEC_TEXTS, SPEC(inherit_env), .min = 0, .max = 1000,
     .help = "further variables taken over from the one who submits, or else from the service"},
    {"tty", SPEC_BOOL, SPEC(tty), .default_text = "false", .help = "give the command a pseudo-terminal"},
    {"log_max", SPEC_SIZE, SPEC(log_max), .default_text = "1GiB", .help = "log kept of a run; then it is cut with a mark"},
    {"log_spool_max", SPEC_SIZE, SPEC(log_spool_max), .default_text = "1GiB", .help = "unsent log on the node before log_policy applies"},
    {"log_policy", SPEC_CHOICE, SPEC(log_policy), .default_text = "cut", .choices = log_policies,
     .help = "too much unsent log: cut (skip, with a mark) or slow (freeze the job)"},
    {"artifacts", SPEC_TEXTS, SPEC(artifacts), .min = 0, .max = 1000, .help = "globs of files stored when the attempt ends"},
    {"register", SPEC_OBJECT, SPEC(register_model), .given_at = offsetof(struct sweep_spec, register_model.given), .sub = &register_table,
     .help = "make the best trial's artifact a model version"},
    {"executor", SPEC_CHOICE, SPEC(executor), .default_text = "local", .choices = executors, .help = "where jobs run"},
    {"priority", SPEC_INT, SPEC(priority), .min = -1000000, .max = 1000000, .default_text = "0", .help = "higher goes first in the queue"},
    IGNORED("entity", "there is one service, and experiments are its folders"),
    IGNORED("controller", "the service is the controller"),
    IGNORED("job", "W&B Launch is not used here"),
    IGNORED("scheduler", "slots take the trials; its num_workers is max_parallel, unless the file says that too"),
    IGNORED("image_uri", "jobs run on the machine, not in images"),
    IGNORED("kind", "the file is a sweep anyway"),
    IGNORED("apiVersion", "there is one grammar"),
};
const struct spec_table sweep_table = {"sweep", sweep_rows, ARRAY_LEN(sweep_rows), sizeof(struct sweep_spec)};
