#include "sweeper/file/sweep_import.h"

#include "sweeper/file/import.h"

static bool text_is(const struct ynode *map, const char *key, const char *text) {
  const struct ynode *node = ynode_peek(map, str_of(key));
  return node && ynode_is_scalar(node) && str_is(node->text, text);
}

enum sweep_format sweep_import_format(const struct ynode *root) {
  const struct ynode *api = ynode_peek(root, STR("apiVersion"));
  if (text_is(root, "kind", "Experiment") || (api && ynode_is_scalar(api) && str_starts(api->text, STR("kubeflow.org/"))))
    return FORMAT_KATIB;
  if (text_is(root, "type", "sweep") || (ynode_peek(root, STR("search_space")) && ynode_peek(root, STR("sampling_algorithm"))))
    return FORMAT_AZUREML;
  const struct ynode *params = ynode_peek(root, STR("params"));
  if (params && params->kind == YN_LIST && params->count && ynode_peek(params->items[0], STR("paramType")))
    return FORMAT_BATCHAI;
  return FORMAT_WINNOW;
}

enum { UNUSED_BYTES_MAX = 280 };

/* Keys whose loss would change what is run. */
static const char *const weighty_words[] = {"algorithm",
                                            "algorithmName",
                                            "algorithmSettings",
                                            "earlyStopping",
                                            "feasibleSpace",
                                            "goal",
                                            "maxFailedTrialCount",
                                            "maxTrialCount",
                                            "metricStrategies",
                                            "metricsCollectorSpec",
                                            "objective",
                                            "objectiveMetricName",
                                            "parallelTrialCount",
                                            "trialParameters",
                                            "early_termination",
                                            "environment_variables",
                                            "inputs",
                                            "limits",
                                            "max_concurrent_trials",
                                            "max_total_trials",
                                            "sampling_algorithm",
                                            "timeout",
                                            "trial_timeout"};

static const char *meant(struct str key) {
  const char *near = str_nearest_of(key, weighty_words, ARRAY_LEN(weighty_words));
  size_t n = near ? strlen(near) : 0;
  return near && MAX_OF(n, key.n) - MIN_OF(n, key.n) <= 2 ? near : NULL;
}

/* What is plainly of another system is told in one sentence, or in several where there is much of it. */
struct unused {
  const struct ynode *first;
  struct buf names;
  size_t count;
};

static void tell_unused(struct import *im, struct unused *unused) {
  if (unused->count)
    spec_problem_add(im->warnings, unused->first, "", NULL, "without a counterpart here, and not used: %s", buf_text(&unused->names));
  im->no_memory |= !buf_ok(&unused->names, NULL);
  buf_release(&unused->names);
  *unused = (struct unused){.names = BUF_INIT(KIB)};
}

static void note_unused(struct import *im, struct unused *unused, const struct ynode *key, const char *path) {
  if (unused->names.n + strlen(path) > UNUSED_BYTES_MAX)
    tell_unused(im, unused);
  unused->first = unused->first ? unused->first : key;
  buf_printf(&unused->names, "%s%s (line %u)", unused->count++ ? ", " : "", path, key->line);
}

/* Every key nobody asked for, the topmost only. */
static void report_unused(struct import *im, const struct ynode *node, const char *path, struct unused *dull) {
  for (size_t i = 0; i < node->count; i++) {
    char below[300];
    if (node->kind == YN_LIST) {
      snprintf(below, sizeof below, "%.270s[%zu]", path, i);
      report_unused(im, node->items[i], below, dull);
      continue;
    }
    const struct ynode_pair *pair = &node->pairs[i];
    snprintf(below, sizeof below, "%.200s%s%.80s", path, path[0] ? "." : "", pair->key->text.p);
    const char *near = pair->key->seen ? NULL : meant(pair->key->text);
    if (pair->key->seen)
      report_unused(im, pair->value, below, dull);
    else if (near)
      spec_problem_add(im->warnings, pair->key, below, NULL, "%s is not known and not used; did you mean \"%s\"?", below, near);
    else
      note_unused(im, dull, pair->key, below);
  }
}

bool sweep_import(enum sweep_format format, struct arena *arena, const struct ynode *root, struct ynode **ret, struct spec_problems *errors,
                  struct spec_problems *warnings) {
  struct import im = {.arena = arena, .out = ynode_new_map(arena, root), .errors = errors, .warnings = warnings};
  if (!im.out)
    return false;
  if (format == FORMAT_KATIB)
    import_katib(&im, root);
  else if (format == FORMAT_AZUREML)
    import_azureml(&im, root);
  else
    import_batchai(&im, root);
  struct unused dull = {.names = BUF_INIT(KIB)};
  report_unused(&im, root, "", &dull);
  tell_unused(&im, &dull);
  if (im.no_memory || errors->count)
    return false;
  *ret = im.out;
  return true;
}
