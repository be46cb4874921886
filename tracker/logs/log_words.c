#include "tracker/logs/log_words.h"

#define METRIC LOG_WORD_METRIC
#define CLOCK LOG_WORD_CLOCK
#define SETTING LOG_WORD_SETTING
#define SCHEDULE LOG_WORD_SCHEDULE
#define EPOCH LOG_WORD_EPOCH
#define STEP LOG_WORD_STEP
#define BATCH LOG_WORD_BATCH
#define TRAIN LOG_WORD_TRAIN
#define VALID LOG_WORD_VALID
#define TEST LOG_WORD_TEST
#define FILLER LOG_WORD_FILLER
#define LIMIT LOG_WORD_LIMIT
#define UNIT LOG_WORD_UNIT
#define LEVEL LOG_WORD_LEVEL
#define TALK LOG_WORD_TALK
#define HEAD LOG_WORD_HEAD

struct row {
  const char *word;
  unsigned flags;
};

/* In the order of strcmp(). */
static const struct row words[] = {
    /* clang-format off */
    {"a", FILLER},
    {"above", LIMIT},
    {"acc", METRIC},
    {"acc1", METRIC},
    {"acc5", METRIC},
    {"accs", METRIC},
    {"accumulate", SETTING},
    {"accumulation", SETTING},
    {"accuracies", METRIC},
    {"accuracy", METRIC},
    {"after", FILLER},
    {"allocated", CLOCK},
    {"alpha", SETTING},
    {"amp", SETTING},
    {"an", FILLER},
    {"and", FILLER},
    {"ap", METRIC},
    {"ar", METRIC},
    {"arch", SETTING},
    {"are", FILLER},
    {"args", SETTING},
    {"ari", METRIC},
    {"at", FILLER},
    {"auc", METRIC},
    {"aucpr", METRIC},
    {"aupr", METRIC},
    {"auprc", METRIC},
    {"auroc", METRIC},
    {"avgloss", METRIC},
    {"b", UNIT},
    {"batch", BATCH | UNIT},
    {"batch/s", UNIT},
    {"batches", SETTING | UNIT},
    {"batches/s", UNIT},
    {"batchsize", SETTING},
    {"bce", METRIC},
    {"beam", SETTING},
    {"below", LIMIT},
    {"best", LIMIT},
    {"bestscore", METRIC},
    {"beta", SETTING},
    {"beta1", SETTING},
    {"beta2", SETTING},
    {"betas", SETTING},
    {"bf16", SETTING},
    {"bias", SETTING},
    {"bins", SETTING},
    {"bit", SETTING},
    {"bleu", METRIC},
    {"bleurt", METRIC},
    {"bound", HEAD},
    {"bpb", METRIC},
    {"bpc", METRIC},
    {"bpd", METRIC},
    {"brier", METRIC},
    {"bs", SETTING},
    {"bsz", SETTING},
    {"budget", SETTING},
    {"buffer", SETTING},
    {"by", LIMIT},
    {"byte", UNIT},
    {"bytes", UNIT},
    {"bz", SETTING},
    {"cache", SETTING},
    {"candidate", SETTING},
    {"candidates", SETTING},
    {"capacity", SETTING},
    {"ce", METRIC},
    {"cer", METRIC},
    {"channels", SETTING},
    {"chrf", METRIC},
    {"cider", METRIC},
    {"classes", SETTING | UNIT},
    {"clip", SETTING},
    {"clock", CLOCK},
    {"code", SETTING},
    {"coef", SETTING},
    {"coefficient", SETTING},
    {"coherence", METRIC},
    {"col", SETTING},
    {"cols", SETTING},
    {"columns", SETTING},
    {"comet", METRIC},
    {"complete", FILLER},
    {"completed", FILLER},
    {"config", SETTING},
    {"consumed", SETTING},
    {"correct", METRIC},
    {"cost", METRIC},
    {"count", SETTING},
    {"counter", HEAD},
    {"counts", SETTING},
    {"cpu", CLOCK},
    {"cpus", UNIT},
    {"critical", LEVEL},
    {"crop", SETTING},
    {"crossentropy", METRIC},
    {"current", FILLER},
    {"currently", FILLER},
    {"cv", VALID},
    {"datatime", CLOCK},
    {"date", CLOCK},
    {"day", CLOCK | UNIT},
    {"days", CLOCK | UNIT},
    {"debug", LEVEL},
    {"decay", SETTING},
    {"decreased", TALK},
    {"delta", SETTING},
    {"depth", SETTING},
    {"desired", SETTING},
    {"dev", VALID},
    {"deviance", METRIC},
    {"device", SETTING},
    {"devices", SETTING},
    {"dice", METRIC},
    {"dim", SETTING},
    {"dimension", SETTING},
    {"dimensions", SETTING},
    {"dims", SETTING},
    {"dir", SETTING},
    {"divergence", METRIC},
    {"dnsmos", METRIC},
    {"docs", UNIT},
    {"documents", UNIT},
    {"done", FILLER},
    {"dropout", SETTING},
    {"dur", CLOCK},
    {"duration", CLOCK},
    {"e", HEAD},
    {"early", SETTING | LIMIT},
    {"ece", METRIC},
    {"edges", SETTING},
    {"eer", METRIC},
    {"elapsed", CLOCK},
    {"elbo", METRIC},
    {"em", METRIC},
    {"end", FILLER},
    {"ended", FILLER},
    {"entropy", METRIC},
    {"ents", METRIC},
    {"ep", EPOCH},
    {"epe", METRIC},
    {"episode", STEP},
    {"epoc", EPOCH},
    {"epoch", EPOCH | UNIT},
    {"epochs", SETTING | UNIT | HEAD},
    {"epret", METRIC},
    {"eps", SETTING},
    {"epsilon", SETTING},
    {"err", METRIC},
    {"errno", SETTING},
    {"error", METRIC | LEVEL},
    {"errors", METRIC},
    {"errs", METRIC},
    {"estimator", SETTING},
    {"estimators", SETTING},
    {"eta", CLOCK},
    {"etc", CLOCK},
    {"eval", VALID},
    {"evals", VALID},
    {"evalset", VALID},
    {"evaluate", VALID},
    {"evaluated", VALID},
    {"evaluating", VALID},
    {"evaluation", VALID},
    {"every", SETTING | LIMIT},
    {"ex/s", UNIT},
    {"example", SETTING},
    {"examples", SETTING | UNIT},
    {"examples/s", UNIT},
    {"examples/sec", UNIT},
    {"exceeded", TALK},
    {"exitcode", SETTING},
    {"f1", METRIC},
    {"fatal", LEVEL},
    {"fbeta", METRIC},
    {"feature", SETTING},
    {"features", SETTING | UNIT},
    {"fid", METRIC},
    {"file", SETTING},
    {"files", SETTING},
    {"filters", SETTING},
    {"final_", LIMIT},
    {"finish", CLOCK},
    {"finished", FILLER},
    {"fitness", METRIC},
    {"flop", SETTING},
    {"flops", CLOCK},
    {"fmeasure", METRIC},
    {"fnr", METRIC},
    {"fold", SETTING},
    {"folder", SETTING},
    {"folds", SETTING},
    {"for", FILLER},
    {"fp16", SETTING},
    {"fpr", METRIC},
    {"fps", CLOCK},
    {"frames", SETTING | UNIT},
    {"freq", SETTING},
    {"frequency", SETTING},
    {"from", LIMIT},
    {"fscore", METRIC},
    {"fvu", METRIC},
    {"g", UNIT},
    {"gamma", SETTING},
    {"gas", SETTING},
    {"gb", CLOCK | UNIT},
    {"gb/s", UNIT},
    {"gen", STEP},
    {"generation", STEP},
    {"gets", FILLER},
    {"gflops", CLOCK},
    {"ghz", UNIT},
    {"gib", CLOCK | UNIT},
    {"gini", METRIC},
    {"giou", METRIC},
    {"gives", FILLER},
    {"gnorm", METRIC},
    {"got", FILLER},
    {"gpu", CLOCK},
    {"gpus", UNIT},
    {"gradaccum", SETTING},
    {"gradnorm", METRIC},
    {"h", UNIT},
    {"hamming", METRIC},
    {"has", FILLER},
    {"have", FILLER},
    {"heads", SETTING},
    {"height", SETTING},
    {"heldout", TEST},
    {"hfu", CLOCK},
    {"hidden", SETTING},
    {"hinge", METRIC},
    {"hit", METRIC},
    {"hits", METRIC},
    {"holdout", TEST},
    {"hour", CLOCK | UNIT},
    {"hours", CLOCK | UNIT},
    {"hparam", SETTING},
    {"hparams", SETTING},
    {"hr", CLOCK | UNIT},
    {"hrs", CLOCK | UNIT},
    {"hyperparameter", SETTING},
    {"hyperparameters", SETTING},
    {"hz", UNIT},
    {"id", SETTING},
    {"ids", SETTING},
    {"idx", SETTING},
    {"image", SETTING},
    {"images", SETTING | UNIT},
    {"images/s", UNIT},
    {"images/sec", UNIT},
    {"img/s", UNIT},
    {"improve", TALK},
    {"improved", TALK},
    {"improvement", TALK},
    {"in", FILLER},
    {"index", SETTING},
    {"inertia", METRIC},
    {"infer", TEST},
    {"inference", TEST},
    {"info", LEVEL},
    {"initial", LIMIT},
    {"input", SETTING},
    {"instance", SETTING},
    {"instances", SETTING},
    {"interval", SETTING},
    {"iops", CLOCK},
    {"iou", METRIC},
    {"ips", CLOCK},
    {"is", FILLER},
    {"it", HEAD},
    {"it/s", UNIT},
    {"items", UNIT},
    {"iter", STEP},
    {"iter/s", UNIT},
    {"iter/sec", UNIT},
    {"iterate", STEP},
    {"iteration", STEP},
    {"iterations", SETTING | UNIT | HEAD},
    {"iters", SETTING},
    {"iters/sec", UNIT},
    {"itn", STEP},
    {"itr", STEP},
    {"its", CLOCK},
    {"jaccard", METRIC},
    {"jitter", CLOCK},
    {"jobs", SETTING},
    {"k", UNIT},
    {"kappa", METRIC},
    {"kb", CLOCK | UNIT},
    {"kb/s", UNIT},
    {"kernel", SETTING},
    {"kib", CLOCK | UNIT},
    {"kl", METRIC},
    {"kld", METRIC},
    {"kwargs", SETTING},
    {"lag", SETTING},
    {"lambda", SETTING},
    {"lapse", CLOCK},
    {"las", METRIC},
    {"last_", LIMIT},
    {"latency", CLOCK},
    {"layer", SETTING},
    {"layers", SETTING | UNIT},
    {"learning", SCHEDULE},
    {"learningrate", SCHEDULE},
    {"learnrate", SCHEDULE},
    {"least", LIMIT},
    {"leaves", SETTING},
    {"lift", METRIC},
    {"likelihood", METRIC},
    {"limit", SETTING},
    {"line", SETTING},
    {"lineno", SETTING},
    {"local", SETTING},
    {"loglik", METRIC},
    {"loglikelihood", METRIC},
    {"logloss", METRIC},
    {"loss", METRIC},
    {"lossd", METRIC},
    {"losses", METRIC},
    {"lossg", METRIC},
    {"lpips", METRIC},
    {"lr", SCHEDULE},
    {"lrate", SCHEDULE},
    {"lrs", SCHEDULE},
    {"m", UNIT},
    {"macs", SETTING},
    {"mae", METRIC},
    {"map", METRIC},
    {"map50", METRIC},
    {"mape", METRIC},
    {"mase", METRIC},
    {"master", SETTING},
    {"max", LIMIT},
    {"max_len", SETTING},
    {"max_norm", SETTING},
    {"maximum", LIMIT},
    {"maxlen", SETTING},
    {"mb", CLOCK | BATCH | UNIT},
    {"mb/s", UNIT},
    {"mcc", METRIC},
    {"mdice", METRIC},
    {"mem", CLOCK},
    {"memory", CLOCK},
    {"merror", METRIC},
    {"meteor", METRIC},
    {"metric", METRIC},
    {"metrics", METRIC},
    {"mfu", CLOCK},
    {"mhz", UNIT},
    {"mib", CLOCK | UNIT},
    {"millis", CLOCK},
    {"milliseconds", CLOCK},
    {"min", LIMIT | UNIT},
    {"min_", LIMIT},
    {"mindcf", METRIC},
    {"minibatch", BATCH},
    {"minibatchsize", SETTING},
    {"minimum", LIMIT | HEAD},
    {"mins", CLOCK | UNIT},
    {"minute", UNIT},
    {"minutes", CLOCK | UNIT},
    {"miou", METRIC},
    {"misclass", METRIC},
    {"misclassification", METRIC},
    {"mlogloss", METRIC},
    {"modularity", METRIC},
    {"mom", SCHEDULE},
    {"momentum", SCHEDULE},
    {"most", LIMIT},
    {"mpe", METRIC},
    {"mpjpe", METRIC},
    {"mr", METRIC},
    {"mrr", METRIC},
    {"ms", CLOCK | UNIT},
    {"ms/batch", UNIT},
    {"ms/iter", UNIT},
    {"ms/step", UNIT},
    {"mse", METRIC},
    {"msec", CLOCK | UNIT},
    {"msle", METRIC},
    {"multilogloss", METRIC},
    {"n", SETTING | LIMIT},
    {"nb", LIMIT},
    {"nbsv", SETTING},
    {"ndcg", METRIC},
    {"neighbors", SETTING},
    {"neighbours", SETTING},
    {"nll", METRIC},
    {"nmi", METRIC},
    {"nnz", SETTING},
    {"nnzs", SETTING},
    {"nodes", SETTING | UNIT},
    {"norm", HEAD},
    {"notice", LEVEL},
    {"now", FILLER},
    {"nproc", SETTING},
    {"nprocs", SETTING},
    {"npv", METRIC},
    {"nsamples", SETTING},
    {"nsv", SETTING},
    {"num", SETTING | LIMIT},
    {"num_workers", SETTING},
    {"number", SETTING | LIMIT},
    {"numexamples", SETTING},
    {"nums", SETTING},
    {"nupdates", STEP},
    {"obj", METRIC},
    {"objective", METRIC},
    {"of", FILLER},
    {"oks", METRIC},
    {"on", FILLER},
    {"oov", SETTING},
    {"ops", SETTING},
    {"options", SETTING},
    {"output", SETTING},
    {"over", FILLER},
    {"overhead", CLOCK},
    {"padding", SETTING},
    {"parallel", SETTING},
    {"param", SETTING},
    {"parameter", SETTING},
    {"parameters", SETTING | UNIT},
    {"params", SETTING | UNIT},
    {"pass", EPOCH},
    {"path", SETTING},
    {"patience", SETTING | TALK},
    {"pck", METRIC},
    {"pearson", METRIC},
    {"pearsonr", METRIC},
    {"per", LIMIT},
    {"perplexity", METRIC},
    {"pesq", METRIC},
    {"pid", SETTING},
    {"port", SETTING},
    {"ppl", METRIC},
    {"ppv", METRIC},
    {"pq", METRIC},
    {"prauc", METRIC},
    {"prec", METRIC},
    {"prec1", METRIC},
    {"prec5", METRIC},
    {"precision", METRIC},
    {"processes", UNIT},
    {"progress", CLOCK},
    {"psnr", METRIC},
    {"purity", METRIC},
    {"r2", METRIC},
    {"ram", CLOCK},
    {"rank", SETTING},
    {"rank1", METRIC},
    {"reached", FILLER},
    {"recall", METRIC},
    {"records", UNIT},
    {"reducing", TALK},
    {"regret", METRIC},
    {"regularization", SETTING},
    {"remaining", CLOCK},
    {"replay", SETTING},
    {"reserved", CLOCK},
    {"residual", METRIC},
    {"residuals", METRIC},
    {"resolution", SETTING},
    {"restore", LIMIT},
    {"restored", LIMIT},
    {"result", FILLER},
    {"results", FILLER},
    {"return", METRIC},
    {"returncode", SETTING},
    {"returns", METRIC},
    {"rew", METRIC},
    {"reward", METRIC},
    {"rewards", METRIC},
    {"rmsd", METRIC},
    {"rmse", METRIC},
    {"rmsle", METRIC},
    {"rng", SETTING},
    {"roc", METRIC},
    {"rouge", METRIC},
    {"rougel", METRIC},
    {"round", STEP},
    {"rows", SETTING | UNIT},
    {"rsq", METRIC},
    {"rsquared", METRIC},
    {"rss", CLOCK},
    {"running", FILLER},
    {"runtime", CLOCK},
    {"s", UNIT},
    {"s/it", UNIT},
    {"s/step", UNIT},
    {"sacrebleu", METRIC},
    {"sample", SETTING | UNIT},
    {"sample/s", UNIT},
    {"sample/sec", UNIT},
    {"samples", SETTING | UNIT},
    {"samples/s", UNIT},
    {"samples/sec", UNIT},
    {"scale", SETTING},
    {"score", METRIC},
    {"scores", METRIC},
    {"sdr", METRIC},
    {"sec", CLOCK | UNIT},
    {"second", CLOCK | UNIT},
    {"seconds", CLOCK | UNIT},
    {"secs", CLOCK | UNIT},
    {"seed", SETTING},
    {"sensitivity", METRIC},
    {"sentences", SETTING},
    {"sentences/s", UNIT},
    {"sents", SETTING},
    {"seq/s", UNIT},
    {"seqs/s", UNIT},
    {"settings", SETTING},
    {"shape", SETTING},
    {"signal", SETTING},
    {"silhouette", METRIC},
    {"sisnr", METRIC},
    {"size", SETTING},
    {"sizes", SETTING},
    {"skipped", SETTING},
    {"smape", METRIC},
    {"smoothing", SETTING},
    {"snr", METRIC},
    {"spearman", METRIC},
    {"spearmanr", METRIC},
    {"specificity", METRIC},
    {"speed", CLOCK},
    {"spice", METRIC},
    {"split", SETTING},
    {"sps", CLOCK},
    {"ssd", METRIC},
    {"ssim", METRIC},
    {"start", FILLER},
    {"start_", LIMIT},
    {"started", FILLER},
    {"starting", FILLER},
    {"status", SETTING},
    {"step", STEP},
    {"step/s", UNIT},
    {"steps", SETTING | HEAD},
    {"steps/s", UNIT},
    {"steps/sec", UNIT},
    {"stoi", METRIC},
    {"stop", LIMIT},
    {"stopping", SETTING | TALK},
    {"stride", SETTING},
    {"success", LEVEL},
    {"summary", FILLER},
    {"support", SETTING},
    {"sv", SETTING},
    {"svs", SETTING},
    {"target", SETTING},
    {"tb", UNIT},
    {"te", TEST},
    {"temperature", SETTING},
    {"test", TEST},
    {"testing", TEST},
    {"tests", TEST},
    {"tflops", CLOCK},
    {"tgs", CLOCK},
    {"than", LIMIT},
    {"the", FILLER},
    {"thread", SETTING},
    {"threads", SETTING | UNIT},
    {"thresh", SETTING},
    {"threshold", SETTING},
    {"throughput", CLOCK},
    {"till", LIMIT},
    {"time", CLOCK},
    {"times", CLOCK | UNIT},
    {"timestamp", CLOCK},
    {"timestep", STEP},
    {"timesteps", STEP},
    {"tnr", METRIC},
    {"to", FILLER | LIMIT},
    {"tok/s", UNIT},
    {"tokens", SETTING | UNIT},
    {"tokens/s", UNIT},
    {"tokens/sec", UNIT},
    {"tol", SETTING},
    {"tolerance", SETTING | TALK},
    {"took", CLOCK},
    {"top1", METRIC},
    {"top5", METRIC},
    {"top_k", SETTING},
    {"topk", SETTING},
    {"total", LIMIT},
    {"total_params", SETTING},
    {"tpr", METRIC},
    {"tps", CLOCK},
    {"tr", TRAIN},
    {"trace", LEVEL},
    {"train", TRAIN},
    {"trainable", SETTING},
    {"training", TRAIN},
    {"tree", STEP},
    {"trees", UNIT | HEAD},
    {"trial", STEP},
    {"trn", TRAIN},
    {"ts", CLOCK},
    {"tst", TEST},
    {"uas", METRIC},
    {"under", LIMIT},
    {"unit", SETTING},
    {"units", SETTING},
    {"until", LIMIT},
    {"up", LIMIT},
    {"update", STEP},
    {"updates", HEAD},
    {"ups", CLOCK},
    {"us", UNIT},
    {"us/step", UNIT},
    {"usec", CLOCK | UNIT},
    {"util", CLOCK},
    {"utilization", CLOCK},
    {"v_num", SETTING},
    {"va", VALID},
    {"val", VALID},
    {"valid", VALID},
    {"validate", VALID},
    {"validating", VALID},
    {"validation", VALID},
    {"value", HEAD},
    {"version", SETTING},
    {"violation", METRIC},
    {"vl", VALID},
    {"vld", VALID},
    {"vnum", SETTING},
    {"vocab", SETTING},
    {"vocabsize", SETTING},
    {"vocabulary", SETTING},
    {"vram", CLOCK},
    {"wall", CLOCK},
    {"walltime", CLOCK},
    {"wape", METRIC},
    {"warm", SETTING | LIMIT},
    {"warmup", SETTING | LIMIT},
    {"warn", LEVEL},
    {"warning", LEVEL},
    {"was", FILLER},
    {"wd", SCHEDULE},
    {"weight", SETTING},
    {"weights", SETTING},
    {"wer", METRIC},
    {"width", SETTING},
    {"window", SETTING},
    {"with", FILLER},
    {"within", LIMIT},
    {"words", SETTING | UNIT},
    {"words/s", UNIT},
    {"worker", SETTING},
    {"workers", SETTING | UNIT},
    {"workspace", SETTING},
    {"world", SETTING},
    {"wpb", SETTING},
    {"wps", CLOCK},
    {"xent", METRIC},
    {"year", SETTING},
    {"youden", METRIC},
    /* clang-format on */
};

/* Names that the rule for their words would take for something else. */
static const struct {
  const char *name;
  enum log_key_kind kind;
} names[] = {
    {"#", LOG_KEY_STEP},
    {"batch_cost", LOG_KEY_CLOCK},
    {"best_value", LOG_KEY_METRIC},
    {"cumulative_steps", LOG_KEY_STEP},
    {"current_function_value", LOG_KEY_METRIC},
    {"current_minimum", LOG_KEY_METRIC},
    {"data", LOG_KEY_CLOCK},
    {"data_cost", LOG_KEY_CLOCK},
    {"e", LOG_KEY_EPOCH},
    {"env_step", LOG_KEY_STEP},
    {"ep_len_mean", LOG_KEY_METRIC},
    {"episode_len_mean", LOG_KEY_METRIC},
    {"episode_length", LOG_KEY_METRIC},
    {"epochs_done", LOG_KEY_EPOCH},
    {"epochs_seen", LOG_KEY_EPOCH},
    {"eval_steps", LOG_KEY_SETTING},
    {"example_counter", LOG_KEY_STEP},
    {"function_value", LOG_KEY_METRIC},
    {"function_value_obtained", LOG_KEY_METRIC},
    {"global_steps", LOG_KEY_STEP},
    {"grad_norm", LOG_KEY_METRIC},
    {"gradient_norm", LOG_KEY_METRIC},
    {"it", LOG_KEY_STEP},
    {"iterations", LOG_KEY_STEP},
    {"iterations_done", LOG_KEY_STEP},
    {"learning_curve", LOG_KEY_UNKNOWN},
    {"loss_scale", LOG_KEY_SETTING},
    {"lower_bound", LOG_KEY_METRIC},
    {"lr", LOG_KEY_SCHEDULE},
    {"machine_precision", LOG_KEY_SETTING},
    {"max_grad_norm", LOG_KEY_SETTING},
    {"max_mem", LOG_KEY_CLOCK},
    {"mean_ep_length", LOG_KEY_METRIC},
    {"n_updates", LOG_KEY_STEP},
    {"num_timesteps", LOG_KEY_STEP},
    {"num_updates", LOG_KEY_STEP},
    {"number_of_trees", LOG_KEY_STEP},
    {"per_word_bound", LOG_KEY_METRIC},
    {"reader_cost", LOG_KEY_CLOCK},
    {"test_size", LOG_KEY_SETTING},
    {"time_step", LOG_KEY_STEP},
    {"total_env_steps", LOG_KEY_STEP},
    {"total_timesteps", LOG_KEY_STEP},
};

static int lower(int c) {
  return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int compare(struct str s, const char *word) {
  for (size_t i = 0;; i++) {
    int a = i < s.n ? lower((unsigned char)s.p[i]) : 0, b = (unsigned char)word[i];
    if (a != b || !b)
      return a - b;
  }
}

unsigned log_word(struct str word) {
  size_t low = 0, high = ARRAY_LEN(words);
  while (low < high) {
    size_t middle = (low + high) / 2;
    int c = compare(word, words[middle].word);
    if (c == 0)
      return words[middle].flags;
    if (c < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return 0;
}

bool log_words_in_order(void) {
  for (size_t i = 1; i < ARRAY_LEN(words); i++)
    if (strcmp(words[i - 1].word, words[i].word) >= 0)
      return false;
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    enum log_key_kind kind = names[i].kind;
    bool leads = kind == LOG_KEY_METRIC || kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
    if (leads && names[i].name[0] != '#' && !log_key_classify(str_of(names[i].name)).heads)
      return false;
  }
  return true;
}

static bool is_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}

static bool is_small(unsigned char c) {
  return (c >= 'a' && c <= 'z') || c >= 0x80;
}

static bool is_capital(unsigned char c) {
  return c >= 'A' && c <= 'Z';
}

static bool is_letter(unsigned char c) {
  return is_small(c) || is_capital(c);
}

bool log_subword(struct str *rest, struct str *ret) {
  const unsigned char *p = (const unsigned char *)rest->p;
  size_t i = 0, n = rest->n;
  while (i < n && !is_letter(p[i]) && !is_digit(p[i]))
    i++;
  size_t start = i;
  if (i == n)
    return false;
  if (is_digit(p[i])) {
    while (i < n && is_digit(p[i]))
      i++;
  } else {
    while (i < n && is_letter(p[i]) && !(i > start && is_small(p[i - 1]) && is_capital(p[i])))
      i++;
    /* "acc1", "F1", "top5" may be words with their digits; "F1macro" and "mAP50" are split otherwise */
    size_t digits = i;
    while (digits < n && is_digit(p[digits]))
      digits++;
    if (digits > i && log_word(str_n(rest->p + start, digits - start)))
      i = digits;
  }
  *ret = str_n(rest->p + start, i - start);
  rest->p += i;
  rest->n -= i;
  return true;
}

static bool named(struct str name, enum log_key_kind *ret) {
  char text[32];
  if (name.n >= sizeof text)
    return false;
  for (size_t i = 0; i < name.n; i++)
    text[i] = name.p[i] == ' ' || name.p[i] == '-' ? '_' : name.p[i];
  for (size_t i = 0; i < ARRAY_LEN(names); i++)
    if (compare(str_n(text, name.n), names[i].name) == 0)
      return *ret = names[i].kind, true;
  return false;
}

/* Words that may stand beside a place word without changing what it is: "global step", "Train Epoch", "batch idx". */
static bool qualifies_place(struct str word) {
  static const char *const qualifiers[] = {"global", "current", "nb",  "no",       "idx", "id",
                                           "number", "index",   "env", "boosting", "cur", "sub"};
  for (size_t i = 0; i < ARRAY_LEN(qualifiers); i++)
    if (compare(word, qualifiers[i]) == 0)
      return true;
  return false;
}

/* "samples/s", "img/sec", "eval_samples_per_second" */
static bool is_rate(struct str name) {
  static const char *const endings[] = {"/s",    "/sec",   "/second", "per_second", "per second", "per_sec",
                                        "/step", "/batch", "/it",     "/iter",      "/h",         "/gpu"};
  for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
    size_t n = strlen(endings[i]);
    if (name.n > n && compare(str_n(name.p + name.n - n, n), endings[i]) == 0)
      return name.p[name.n - n] != '/' || log_word(str_n(name.p, name.n - n)) & (CLOCK | SETTING | UNIT | STEP | BATCH) ||
             compare(str_n(name.p + name.n - n, n), "/s") == 0 || compare(str_n(name.p + name.n - n, n), "/sec") == 0;
  }
  return false;
}

/* P@1, Acc@5, mAP@0.5, hits@10 */
static bool is_at_rank(struct str name) {
  size_t at = str_find(name, '@');
  return at != SIZE_MAX && at > 0 && at + 1 < name.n && (is_digit((unsigned char)name.p[at + 1]) || name.p[at + 1] == '.');
}

struct log_key log_key_classify(struct str name) {
  struct log_key key = {LOG_KEY_UNKNOWN, 0, false};
  unsigned any = 0, all = 0, words_n = 0, sections = 0, places = 0, qualifiers = 0;
  struct str rest = name, word;
  unsigned last = 0, first = 0;
  bool ends_in_loss = false;
  bool head = true; /* up to "of", "after", "on": "accuracy of the network on the 10000 test images" */
  while (log_subword(&rest, &word)) {
    unsigned flags = log_word(word);
    words_n++;
    any |= flags;
    head = head && !(flags & FILLER && all & METRIC);
    if (!head) {
      all |= flags & LOG_WORD_SECTION;
      continue;
    }
    all |= flags;
    first = words_n == 1 ? flags : first;
    last = is_digit((unsigned char)word.p[0]) ? last : flags;
    ends_in_loss = compare(word, "loss") == 0;
    sections += (flags & LOG_WORD_SECTION) || compare(word, "best") == 0;
    places += (flags & (EPOCH | STEP | BATCH)) != 0;
    qualifiers += qualifies_place(word) || (flags & TRAIN);
  }
  key.sections = all & LOG_WORD_SECTION;
  key.heads = any & (METRIC | EPOCH | STEP | BATCH | LOG_WORD_SECTION | HEAD) || is_at_rank(name);
  if (named(name, &key.kind))
    return key;
  if (words_n == 0)
    return key;
  if (is_rate(name))
    key.kind = LOG_KEY_CLOCK;
  else if (places && places + qualifiers == words_n)
    key.kind = all & EPOCH ? LOG_KEY_EPOCH : all & STEP ? LOG_KEY_STEP : LOG_KEY_BATCH;
  else if (places && all & LIMIT && !(all & METRIC)) /* best_epoch, max steps */
    key.kind = LOG_KEY_SETTING;
  else if (sections == words_n && all & LOG_WORD_SECTION) /* Train, bestTest */
    key.kind = LOG_KEY_SECTION;
  else if (all & CLOCK && !ends_in_loss) /* not "duration loss", of a model of durations */
    key.kind = LOG_KEY_CLOCK;
  else if (all & SETTING && !(first & METRIC && last & METRIC)) /* not "Loss/regularization_loss" */
    key.kind = LOG_KEY_SETTING;
  else if (all & SCHEDULE)
    key.kind = LOG_KEY_SCHEDULE;
  else if (all & METRIC || is_at_rank(name))
    key.kind = LOG_KEY_METRIC;
  return key;
}
