/* The command line as a table. A row says everything there is to say about a verb; parsing, help, manual pages and completion are
 * derived from it. */
#ifndef WINNOW_CLI_VERB_H
#define WINNOW_CLI_VERB_H

#include "base/str.h"

/* What the program's exit status means. Scripts rely on it. */
#define EXIT_CODES(X)                                                              \
  X(EXIT_OK, 0, "it worked")                                                       \
  X(EXIT_FAILED, 1, "it failed")                                                   \
  X(EXIT_USAGE, 2, "the command line was wrong, or a question could not be asked") \
  X(EXIT_NOT_FOUND, 3, "there is no such thing, or its name means several")        \
  X(EXIT_AUTH, 4, "a credential is missing, wrong or does not allow this")         \
  X(EXIT_CONFLICT, 5, "it conflicts with what is there")                           \
  X(EXIT_UNREACHABLE, 6, "the service does not answer or is away for now")         \
  X(EXIT_OBJECT_FAILED, 7, "what was waited for failed")                           \
  X(EXIT_PARTIAL, 8, "a part worked and a part failed")                            \
  X(EXIT_TIMEOUT, 124, "the time given was over")                                  \
  X(EXIT_INTERRUPTED, 130, "interrupted by Ctrl-C; work on the service goes on")

enum exit_code {
#define X(code, number, meaning) code = number,
  EXIT_CODES(X)
#undef X
};

enum flag_type {
  FLAG_BOOL,     /* takes no value; --flag=false is possible */
  FLAG_TEXT,     /* anything */
  FLAG_INT,      /* a whole number, 0 or more */
  FLAG_SIGNED,   /* any whole number */
  FLAG_NUMBER,   /* any number */
  FLAG_DURATION, /* 90s 30m 2h 1d */
  FLAG_SIZE,     /* 2GB 64MiB */
  FLAG_CHOICE,   /* one of choices */
};

/* What a word stands for; completion asks the service for the ids of it. */
enum word_kind {
  WORD_TEXT,
  WORD_FILE,
  WORD_RUN,
  WORD_SWEEP,
  WORD_EXPERIMENT,
  WORD_MODEL,
  WORD_NODE,
  WORD_TOKEN,
  WORD_SHELL, /* bash zsh fish */
  WORD_NOUN,  /* of this program */
};

struct flag_row {
  const char *name; /* kebab-case, without the hyphens */
  char letter;      /* 0: none */
  enum flag_type type;
  const char *value_name; /* in the help; NULL for FLAG_BOOL */
  const char *default_text;
  const char *const *choices; /* NULL-ended, for FLAG_CHOICE */
  bool repeatable;
  enum word_kind completes;
  const char *help;
};

struct word_row {
  const char *name;
  enum word_kind kind;
  bool optional;
  bool many; /* only the last one */
};

struct example {
  const char *command; /* as typed, without the prompt */
  const char *meaning;
};

struct cli;

enum {
  VERB_COMMAND = 1, /* the first word that is no flag begins a command, taken as it stands */
  VERB_RAW = 2,     /* the function reads its arguments itself (settings are rows of another table) */
  VERB_HIDDEN = 4,  /* not in the help */
};

enum { VERB_MAX_EXAMPLES = 4, VERB_MAX_WORDS = 4 };

struct verb {
  const char *noun;
  const char *name;    /* NULL: the noun by itself is the command */
  const char *aliases; /* parted by blanks */
  const char *summary; /* one line, no full stop */
  const char *help;    /* paragraphs, parted by an empty line */
  struct example examples[VERB_MAX_EXAMPLES];
  const struct flag_row *flags;
  size_t flag_count;
  struct word_row words[VERB_MAX_WORDS]; /* ends with the first row without a name */
  unsigned kind;
  int (*run)(struct cli *cli); /* returns an exit code */
};

struct noun {
  const char *name;
  const char *aliases;
  const char *summary;
};

/* A part of the table: the verbs of one file. */
struct verb_set {
  const struct verb *verbs;
  size_t count;
};

struct verb_table {
  const struct noun *nouns; /* in the order of the help */
  size_t noun_count;
  const struct verb_set *const *sets;
  size_t set_count;
  const struct flag_row *globals; /* flags that every verb takes */
  size_t global_count;
};

/* The program's table. */
extern const struct verb_table verb_table;

/* Names and aliases; NULL when there is none. */
const struct noun *noun_find(const struct verb_table *table, struct str word);
/* `word` without p finds the row whose name is NULL. */
const struct verb *verb_find(const struct verb_table *table, const struct noun *noun, struct str word);
/* for (size_t at = 0; (verb = verb_next(table, noun, &at));) ... NULL at the end. A NULL noun goes through all. */
const struct verb *verb_next(const struct verb_table *table, const struct noun *noun, size_t *at);
/* Is `word` the name or one of the blank-parted aliases? */
bool word_matches(struct str word, const char *name, const char *aliases);
size_t verb_word_count(const struct verb *verb);
/* All its verbs are hidden. */
bool noun_is_hidden(const struct verb_table *table, const struct noun *noun);

/* The nearest noun, verb of `noun` or flag of `verb`; NULL when nothing is near. */
const char *noun_nearest(const struct verb_table *table, struct str word);
const char *verb_nearest(const struct verb_table *table, const struct noun *noun, struct str word);
const char *flag_nearest(const struct verb_table *table, const struct verb *verb, struct str word);

#endif
