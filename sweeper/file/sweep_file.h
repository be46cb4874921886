/* The sweep file: what a user writes, read by table into a struct, with places for every mistake, and its normal form.
 *
 * Accepted: our YAML (a superset of W&B's), W&B's own, a Katib Experiment, an Azure ML sweep job, the Batch AI utilities' JSON; YAML or
 * JSON. The others are first rewritten as a tree in our grammar whose nodes keep their places, so one reader and one set of messages serves
 * all. The search space itself is not judged here: `parameters`, `conditions`, `constraints` are handed on as JSON. */
#ifndef WINNOW_SWEEPER_SWEEP_FILE_H
#define WINNOW_SWEEPER_SWEEP_FILE_H

#include "sampler/sampler.h"
#include "sampler/space.h"
#include "sweeper/file/sweep_spec.h"
#include "sweeper/rules/stop.h"

enum { SWEEP_FILE_BYTES_MAX = 1 << 20, SWEEP_NAME_MAX = 200, SWEEP_PARALLEL_MAX = 100000 };

#define JOB_PARAMETER "_"

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
/* A stored normal form, for reading output anew. Of one that this version cannot read any more: what it says of the metric, if that can be
 * read, and else nothing. */
MUST_CHECK bool sweep_file_read_stored(struct str normal, struct arena *arena, struct sweep_file **ret, struct err *err);
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

/* A mistake that shows only when the file is submitted gets the line and column of the key that err->path names. Returns false. */
bool sweep_file_place(const struct sweep_file *file, struct err *err);
/* Such a mistake reads as one of the reader. Returns false. */
bool sweep_file_fail_placed(const char *name, struct err *err);

/* The JSON Schema for editors. */
MUST_CHECK bool sweep_file_schema(struct buf *out, struct err *err);

#endif
