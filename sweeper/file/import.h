/* What the translators of other tools' sweep files (import_*.c) write with: nodes of a tree in our grammar, each where its original stood. */
#ifndef WINNOW_SWEEPER_IMPORT_H
#define WINNOW_SWEEPER_IMPORT_H

#include "sweeper/file/sweep_spec.h"

struct import {
  struct arena *arena;
  struct ynode *out; /* a map in our grammar */
  struct spec_problems *errors, *warnings;
  bool no_memory;
};

/* Adds to a map of the new tree; a NULL value is a failed allocation and remembered. */
void import_put(struct import *im, struct ynode *map, const char *key, struct ynode *value);
void import_add(struct import *im, struct ynode *list, struct ynode *item);
struct ynode *import_map(struct import *im, const struct ynode *at);
struct ynode *import_list(struct import *im, const struct ynode *at);
void import_put_text(struct import *im, struct ynode *map, const char *key, const struct ynode *at, const char *text);
void import_put_int(struct import *im, struct ynode *map, const char *key, const struct ynode *at, int64_t value);
void import_put_number(struct import *im, struct ynode *map, const char *key, const struct ynode *at, double value);
/* A whole number near enough to be one; complains when it is beyond what a double holds exactly. */
struct ynode *import_whole(struct import *im, const struct ynode *at, double value);
/* A number of a list of them; a whole one that rounding makes the same as the one before it is left out. */
void import_add_number(struct import *im, struct ynode *list, const struct ynode *at, double value, bool whole);
/* The same node, and all below it, counted as used. */
void import_keep(struct import *im, struct ynode *map, const char *key, struct ynode *value);
void import_mark(struct ynode *node);
/* A scalar's text as a number, also when it was quoted; complains otherwise. */
bool import_number(struct import *im, const struct ynode *node, const char *path, double *ret);
bool import_int(struct import *im, const struct ynode *node, const char *path, int64_t *ret);
/* A scalar's text, "" when `node` is NULL or no scalar. */
struct str import_text(const struct ynode *node);
/* min, min + step, ... max as a list. */
struct ynode *import_range(struct import *im, const struct ynode *at, double min, double max, double step, bool whole);

/* The translators. */
void import_katib(struct import *im, const struct ynode *root);
void import_azureml(struct import *im, const struct ynode *root);
void import_batchai(struct import *im, const struct ynode *root);

#endif
