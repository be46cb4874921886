/* Which names, keys and values are accepted, with the texts that MLflow's clients and tests know. Pure. Lengths are in characters. */
#ifndef WINNOW_TRACKER_NAMES_H
#define WINNOW_TRACKER_NAMES_H

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

enum {
  KEY_MAX = 250, /* of metrics, params, tags */
  PARAM_VALUE_MAX = 6000,
  RUN_TAG_VALUE_MAX = 8000,
  RUN_WORDS_MAX = 20000, /* params, and tags, of one run; and no more than 32 MiB of each: run_words_fit() */
  EXPERIMENT_NAME_MAX = 500,
  MODEL_NAME_MAX = 2000,
  MODEL_NAME_BYTES_MAX = 2500, /* what an index holds, and more is made of it: "name/version" */
  DESCRIPTION_MAX = 100000,    /* of models and versions */
  SOURCE_MAX = 20000,          /* of versions */
  RUN_LINK_MAX = 2000,
  RUN_ID_MAX = 256, /* of a version: any text, of another service, say */
  USER_ID_MAX = 256,
  MODEL_TYPE_MAX = 500,
  EXPERIMENT_TAG_VALUE_MAX = 5000,
  REGISTRY_TAG_VALUE_MAX = 100000,
  ALIAS_MAX = 255,
  ARTIFACT_LOCATION_MAX = 2048,
  BATCH_METRICS_MAX = 1000,
  BATCH_PARAMS_MAX = 100,
  BATCH_TAGS_MAX = 100,
  BATCH_ITEMS_MAX = 1000,
  BATCH_DATASETS_MAX = 2000,
  DATASET_NAME_MAX = 500,
  DATASET_DIGEST_MAX = 36,
  DATASET_SOURCE_MAX = 65535,
  DATASET_SCHEMA_MAX = 1048575,
  DATASET_PROFILE_MAX = 16777215,
  INPUT_TAG_KEY_MAX = 255,
  INPUT_TAG_VALUE_MAX = 500,
  ARTIFACT_PATH_MAX = 3000,   /* in bytes, as file systems have it */
  ARTIFACT_STORED_MAX = 2600, /* of a file of ours, from the root of the store: what an index holds */
  ARTIFACT_NAME_MAX = 255,
};

size_t text_length(struct str utf8);
/* The first `max` characters. */
struct str text_cut(struct str utf8, size_t max);
/* "'what' exceeds the maximum length of N characters" */
MUST_CHECK bool text_fits(struct str utf8, size_t max, const char *what, struct err *err);

/* "Invalid value "x" for parameter 'path' supplied: why"; without `why` it ends in "supplied.". Returns false. */
bool invalid_value(struct err *err, const char *path, struct str value, const char *why);
/* The text as json.dumps() shows it: ASCII only. */
void json_quote_ascii(struct buf *out, struct str text);
/* The text as Python's repr() shows it. */
void python_repr(struct buf *out, struct str text);

/* As posixpath.normpath(). The buffer's ceiling bounds it. */
void path_normal(struct str path, struct buf *out);

/* The key of a metric, param or tag: letters, digits and _-. :/ and its own normal path. */
MUST_CHECK bool key_check(struct str key, const char *path, struct err *err);
/* ^[a-zA-Z0-9][\w\-]{0,255}$ */
MUST_CHECK bool run_id_check(struct str id, const char *path, struct err *err);
MUST_CHECK bool experiment_name_check(struct str name, struct err *err);
MUST_CHECK bool artifact_location_check(struct str uri, struct err *err);
/* Adds the location; one that is relative, as a path or as file:path, is below the directory. */
MUST_CHECK bool artifact_location_resolve(struct str location, const char *directory, struct buf *out, struct err *err);
/* The name of a registered model. No "." or "..": an address could not hold them. */
MUST_CHECK bool model_name_check(struct str name, const char *path, struct err *err);
MUST_CHECK bool logged_model_name_check(struct str name, struct err *err);
/* Letters, digits, _ and -; not "latest", not a version. */
MUST_CHECK bool alias_check(struct str alias, struct err *err);
/* The same for one that is only named, so that it may be a reserved one. */
MUST_CHECK bool alias_form_check(struct str alias, struct err *err);

/* A path below a directory of artifacts, percent-decoded once. Refused is what leads, or after any further decoding would lead, out of
 * it, and what is no plain name. "" is the directory itself. On success *ret is the path without a slash at its end. */
MUST_CHECK bool artifact_path_check(struct str path, struct str *ret, struct err *err);
/* The same of one that is joined to a directory before anything reads it: it may begin as a URI or with a drive ("file:x", "c:x"). */
MUST_CHECK bool artifact_below_check(struct str path, struct str *ret, struct err *err);
/* A path as people write it: "./model/" is "model", and "." or "./" the directory itself, "". */
struct str path_from_here(struct str path);
/* Without the names in it that say nothing: "./a//b/." is "a/b", and "." is "". One that leads elsewhere still does. */
void path_tidy(struct str path, struct buf *out);
/* Where a model version comes from: no way out by "..", plain or encoded. */
MUST_CHECK bool source_uri_check(struct str uri, struct err *err);
/* "runs:/<id>/path", what is below the artifacts of a run, or all of them: "runs:/<id>" has the path "". False for anything else. */
bool run_uri_parse(struct str uri, struct id *ret_run, struct str *ret_path);

/* "adjective-noun-123" */
struct rng;
void random_name(struct rng *rng, char out[48]);

#endif
