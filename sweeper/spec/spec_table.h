/* Objects of the sweep file as tables: one row a key. A row serves the reader (with places), the normal form, and the JSON Schema. */
#ifndef WINNOW_SWEEPER_SPEC_TABLE_H
#define WINNOW_SWEEPER_SPEC_TABLE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "sweeper/spec/yaml.h"

enum spec_type {
  SPEC_TEXT,     /* struct str; any scalar, as written */
  SPEC_BOOL,     /* bool */
  SPEC_INT,      /* int64_t */
  SPEC_NUMBER,   /* double */
  SPEC_DURATION, /* int64_t, milliseconds */
  SPEC_SIZE,     /* uint64_t, bytes */
  SPEC_CHOICE,   /* int, index into choices */
  SPEC_FLAGS,    /* unsigned, a bit for every choice; one word or a list */
  SPEC_TEXTS,    /* struct spec_texts; one scalar or a list of them */
  SPEC_ARGV,     /* the same; never one scalar, and items may be empty */
  SPEC_PAIRS,    /* struct spec_pairs: a map of names to scalars */
  SPEC_OBJECT,   /* the struct of `sub`, inline */
  SPEC_OBJECTS,  /* struct spec_objects; one map or a list of them */
  SPEC_TREE,     /* const struct ynode *: kept as it is, for another reader */
};

struct spec_texts {
  struct str *items;
  size_t count;
};

struct spec_pair {
  struct str name, value;
};

struct spec_pairs {
  struct spec_pair *items;
  size_t count;
};

struct spec_objects {
  void *items; /* an array of sub->size each */
  size_t count;
};

struct spec_table;

enum spec_flag {
  SPEC_REQUIRED = 1,
  SPEC_IGNORED = 2, /* accepted with a warning, stored nowhere */
  SPEC_WANDB = 4,   /* the key is W&B's own */
  SPEC_BARE = 8,    /* a scalar in place of the object is this key's value: `retries: 2` */
  SPEC_ABOVE = 16,  /* min is excluded */
};

struct spec_row {
  const char *key;
  enum spec_type type;
  unsigned flags;
  size_t offset;
  size_t given_at;          /* offset of a bool that says whether it was given; 0: none (so such a bool is never the first field) */
  const char *default_text; /* in YAML; NULL: all zero, and left out of the normal form unless given */
  double min, max;          /* numbers: bounds; lists: items. Both 0: none */
  const char *const *choices;
  const struct spec_table *sub;
  const char *alias;   /* another name of the key */
  uint32_t only;       /* bit i: the key belongs to choice i of the table's first row; 0: to all */
  uint32_t schema_too; /* further such bits that only the schema knows: the reader has renamed the choice by then */
  const char *help;
};

/* A table with `only` rows begins with a SPEC_CHOICE row, which is read first. */
struct spec_table {
  const char *name;
  const struct spec_row *rows;
  size_t count;
  size_t size;
};

/* Mistakes and remarks, in the order found. */
struct spec_problem {
  const char *path; /* "parameters.lr.min"; "" is the file */
  unsigned line, column;
  bool absent; /* something is missing there */
  const char *message;
  const char *hint; /* "" when there is nothing to say */
};

enum { SPEC_PROBLEMS_MAX = 100 };

struct spec_problems {
  struct arena *arena;
  struct spec_problem items[SPEC_PROBLEMS_MAX]; /* more are counted only */
  size_t count;
  bool no_memory;
};

/* `at` may be NULL. Texts are copied. */
void spec_problem_add(struct spec_problems *problems, const struct ynode *at, const char *path, const char *hint, const char *format, ...)
    PRINTF_LIKE(5, 6);
/* In the order of the file; what is missing comes after all that stands there (`nam` is why `name` is missing), what has no place last. */
void spec_problems_sort(struct spec_problems *problems);
/* `name:line:column: message` of a problem of a file into err, the hint too. Returns false. */
bool spec_problem_fail(const char *name, const struct spec_problem *problem, struct err *err);

struct spec_reader {
  struct arena *arena;
  struct spec_problems *errors;
  struct spec_problems *warnings;
};

/* Reads `node` into the zeroed struct, defaults first. Mistakes are added to reader->errors; the struct is then only partly filled.
 * Texts point into the arena of the tree. */
void spec_read(struct spec_reader *reader, const struct spec_table *table, const struct ynode *node, const char *path, void *ret_struct);
/* The normal form: rows in the order of the table, every default written out. */
void spec_write(const struct spec_table *table, const void *object, struct json_writer *w);
/* A JSON Schema (2020-12) of the object: every key with its description and default, what is accepted and not used as deprecated, and the
 * other name of a key with a title that says so. */
void spec_schema(const struct spec_table *table, struct json_writer *w);
/* The row with SPEC_BARE, or NULL. */
const struct spec_row *spec_bare_row(const struct spec_table *table);
/* Is there a key in the map (top level) that is not W&B's own? */
bool spec_beyond_wandb(const struct spec_table *table, const struct ynode *map);

/* "90s", "30m", "2h", "1d": the largest unit that divides it. "2GB", "512MiB" likewise. */
void spec_format_duration(int64_t ms, char out[32]);
void spec_format_size(uint64_t bytes, char out[32]);

#endif
