/* Inside of the log parser: what its parts share, and what each does for the others. Nobody else includes it. */
#ifndef WINNOW_TRACKER_LOG_STATE_H
#define WINNOW_TRACKER_LOG_STATE_H

#include <math.h>

#include "tracker/logs/log_key.h"
#include "tracker/logs/log_parse.h"
#include "tracker/logs/log_token.h"
#include "tracker/logs/log_words.h"

enum {
  TOKENS_MAX = 2048,
  RAW_MAX = LOG_POINTS_MAX,
  SCRATCH_MAX = 64 * 1024,
  SERIES_MAX = 1024, /* a power of two */
  COLUMNS_MAX = 48,
  COLUMN_TEXT_MAX = 1024,
  SECTION_MAX = 40,
  BLOCK_MAX = 16 * 1024,
  BLOCK_LINES_MAX = 400,
  CACHE_MAX = 2048, /* a power of two */
  STYLE_MAX = 48,
};

/* Where in the training a line stands; NAN where it does not say. */
struct place {
  double epoch;
  double step;               /* global, as far as one can tell */
  double batch, batch_total; /* within the epoch; or samples */
};
#define PLACE_NONE ((struct place){NAN, NAN, NAN, NAN})

static inline bool place_is_none(const struct place *p) {
  return isnan(p->epoch) && isnan(p->step) && isnan(p->batch);
}

/* A name and a number found on a line, before it is decided whether it is a point. */
struct raw {
  struct str name;
  struct str section; /* empty: none */
  struct str suffix;  /* "", " avg", " %", " std", " 2" */
  double value;
  uint64_t line;
  enum log_key_kind kind;
  unsigned sections; /* that the name says itself */
  bool percent, integer;
  bool in_dict;
};

struct column {
  uint32_t at, end; /* of the header's text, in bytes */
  uint16_t name_at, name_n;
  uint8_t kind; /* enum log_key_kind */
};

/* What a word means, looked up once. */
struct word_info {
  uint16_t flags; /* enum log_word */
  bool section;   /* log_is_section() */
  bool placing;   /* log_may_be_place() */
  bool dotted;    /* has a point in it */
  bool divided;   /* has a blank in it */
  struct log_key key;
};

enum table_by { BY_NONE, BY_BLANKS, BY_PIPES, BY_COMMAS, BY_SEMICOLONS };

struct table {
  uint8_t by; /* enum table_by */
  uint8_t count;
  bool seen_row;
  bool label_first; /* the first column's header names the rows */
  uint16_t text_n;
  struct column columns[COLUMNS_MAX];
  char text[COLUMN_TEXT_MAX];
};

enum block_kind { BLOCK_NONE, BLOCK_DICT, BLOCK_BOX, BLOCK_RECORD };

struct block {
  uint8_t kind; /* enum block_kind */
  uint64_t first_line;
  uint32_t lines;
  uint32_t n;
  char text[BLOCK_MAX];
};

/* The level of a line: the same name on lines of different level is not the same series. Before the log tells the first place there
 * are no levels yet; stored states hold these numbers. */
enum level { LEVEL_NONE, LEVEL_EPOCH, LEVEL_STEP, LEVEL_BATCH, LEVEL_OPEN, LEVEL_COUNT };

struct series {
  uint64_t hash; /* of the key; 0: free */
  uint64_t count;
  int64_t last, offset;
  uint8_t level;  /* of the first point */
  bool in_dict;   /* it stood in a dict */
  uint8_t beside; /* numbers on that line, at most 255; 0: not known */
  uint16_t label; /* the first line's, hashed; 0: it had none */
  uint64_t line;  /* of the last point */
  double printed; /* the global step of the last point; NAN */
};

#define LOG_STEP_MAX (INT64_MAX / 4)

enum style { STYLE_PAIRS, STYLE_TABLE, STYLE_DICT, STYLE_BOX, STYLE_COUNT };

/* What is carried from line to line; all of it is saved. */
struct kept {
  struct place carried;
  double epoch_first; /* NAN: none yet */
  char section[SECTION_MAX];
  uint8_t section_n;
  bool best_next;      /* the next line repeats the best one */
  bool section_strong; /* a headline of its own: stays while lines are indented */
  bool section_used;   /* points have stood under it */
  bool header_open;    /* an epoch's headline, and nothing measured under it yet */
  bool header_seen;
  double bar_total;           /* of the training bar under that headline */
  char pending[LOG_NAME_MAX]; /* a name whose number is to come on the next line */
  uint8_t pending_n;
  struct table table;     /* has had rows */
  struct table candidate; /* may be a header */
  char above[256];        /* the line before, when it was only words: a header may have two rows */
  uint16_t above_n;
  struct block block;
  struct series series[SERIES_MAX];
  size_t series_n;
  uint64_t points_by_style[STYLE_COUNT];
  char style[STYLE_MAX];
  uint8_t style_n;
  uint64_t dropped;
};

/* What is among the tokens of a line. */
struct line_has {
  size_t numbers;  /* up to here */
  bool percent;    /* a number with this sign */
  bool lines;      /* a drawn one before the first number */
  bool only_names; /* words and whole numbers, besides those */
};

struct log_parse {
  struct log_parse_options options;
  struct kept kept;

  /* of the line at hand */
  struct str text;
  uint64_t number;
  struct log_token tokens[TOKENS_MAX];
  struct word_info words[TOKENS_MAX]; /* of the tokens that are words */
  size_t tokens_n;
  struct line_has has;
  size_t first; /* the first token behind the logger's prefix */
  struct place own;
  struct str line_section;
  struct str label;    /* "[student]", "EMA:": which of several this line is about; empty: it does not say */
  struct place here;   /* where the line's points stand */
  bool complete_bar;   /* batch == its total */
  bool running_bar;    /* a bar that is not full */
  bool record;         /* of a metric file: everything is a point */
  bool best;           /* this line repeats the best one */
  bool pending_new;    /* this line ended with a name */
  struct str message;  /* the text that a JSON logger wraps */
  bool wrapped;        /* this line is such a text */
  bool above_is_prose; /* the line before had no word of a header */
  bool measured;       /* a label says that what follows are metrics */
  bool refused;        /* the line talks about metrics but reports none */
  struct raw raw[RAW_MAX];
  size_t raw_n;
  char scratch[SCRATCH_MAX];
  size_t scratch_n;
  struct log_point points[LOG_POINTS_MAX];
  size_t points_n;
  struct {
    struct word_info info;
    uint8_t n; /* 0: none yet */
    char name[32];
  } asked; /* last */
  struct {
    uint64_t hash;
    struct word_info info;
  } cache[CACHE_MAX];
  struct {
    uint64_t quick, stored;
  } hashes[CACHE_MAX]; /* of keys */
};

/* log_lookup.c */
/* What the name means; valid until the next call. */
const struct word_info *log_look_up(struct log_parse *p, struct str name);
struct log_key log_classify(struct log_parse *p, struct str name);
/* log_word(), looked up. */
unsigned log_flags(struct log_parse *p, struct str word);
/* Cuts the text into tokens and looks up its words. */
void log_read_tokens(struct log_parse *p, struct str text);
/* Of a series' key; it stands in stored states. */
uint64_t log_key_hash(struct log_parse *p, struct str key);

/* log_parse.c */
/* "All runs", "Overall": a label of what is taken together, beside which each has its own. */
bool log_says_all(struct str label);

/* log_points.c */
/* `at` bytes of scratch, or NULL when it is used up. */
char *log_scratch(struct log_parse *p, size_t n);
/* Puts a raw pair in the list; the name lies in the text or in scratch. */
struct raw *log_add_raw(struct log_parse *p, struct str name, double value);
/* Another number under the name of the raw pair last added. */
struct raw *log_add_second(struct log_parse *p, double value, bool percent, struct str suffix);
/* Has all that was measured so far been without a name? */
bool log_names_nothing(struct log_parse *p);
/* Decides on the raw pairs and makes the points. */
void log_settle(struct log_parse *p, enum style style);

/* What a punctuation mark may be. */
enum {
  MARK_INSIDE = 1,   /* stands inside of names and values */
  MARK_QUOTE = 2,    /* " ' ` */
  MARK_TRAILING = 4, /* at the end of a name, without belonging to it */
  MARK_ENDS = 8,     /* ends a value */
  MARK_LEADS = 16,   /* may stand between a separator and its number */
  MARK_STARTS = 32,  /* a name may start behind it */
};
extern const uint8_t log_marks[128];

static inline bool mark_is(char mark, unsigned what) {
  return (unsigned char)mark < 128 && log_marks[(unsigned char)mark] & what;
}

static inline struct str token_text(const struct log_parse *p, size_t i) {
  return str_n(p->text.p + p->tokens[i].at, p->tokens[i].end - p->tokens[i].at);
}

static inline bool token_is(const struct log_parse *p, size_t i, char mark) {
  return i < p->tokens_n && p->tokens[i].type == LOG_T_MARK && p->tokens[i].mark == mark;
}

static inline bool token_is_int(const struct log_parse *p, size_t i) {
  return i < p->tokens_n && p->tokens[i].type == LOG_T_NUMBER && p->tokens[i].flags & LOG_T_INT;
}

static inline bool token_is_word(const struct log_parse *p, size_t i) {
  return i < p->tokens_n && p->tokens[i].type == LOG_T_WORD;
}

/* "->" before a number */
static inline bool is_arrow(const struct log_parse *p, size_t i) {
  return token_is(p, i, '-') && token_is(p, i + 1, '>') && !(p->tokens[i + 1].flags & LOG_T_SPACE);
}

static inline unsigned token_word(const struct log_parse *p, size_t i) {
  return p->words[i].flags;
}

static inline bool token_is_section(const struct log_parse *p, size_t i) {
  return p->words[i].section;
}

static inline struct log_key token_key(const struct log_parse *p, size_t i) {
  return p->words[i].key;
}

static inline bool token_is_number(const struct log_parse *p, size_t i) {
  return i < p->tokens_n && p->tokens[i].type == LOG_T_NUMBER;
}

static inline bool is_place_kind(unsigned kind) {
  return kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
}

/* The letters directly behind a number: "16epoch". */
static inline struct str token_unit(const struct log_parse *p, size_t i) {
  const struct log_token *t = &p->tokens[i];
  return t->flags & LOG_T_UNIT ? str_n(p->text.p + t->end, t->unit_end - t->end) : STR("");
}

/* log_shape.c */
/* INT "/" INT, INT "of" INT, where the first is not beyond the second. */
bool log_is_fraction(const struct log_parse *p, size_t i);
/* "(2%)" behind so many of so many: where it ends, or i. */
size_t log_skip_share(const struct log_parse *p, size_t i);
/* "12,000": the whole number at i with the thousands behind it. Returns where it ends. */
size_t log_read_thousands(const struct log_parse *p, size_t i, double *ret);

struct log_match {
  struct place place; /* NAN: the shape does not tell it */
  struct str section; /* empty: none */
  size_t end;         /* behind the tokens that the place takes */
};

/* Do the tokens from i on have the shape? A character stands for a token:
 *   e s b     a whole number: the epoch, the step (thousands may follow: "12,000"), the batch
 *   e/ s/ b/  "3/10", "3 of 10"
 *   i i/ n x  a whole number, one of so many, or any number, that tells no place; a number with a point that is the epoch
 *   w M P E   a word; the name of a metric; of a place; "epochs"
 *   S L       a word that is the section; or one of its letters: t, v, e
 *   .         any token
 * and every other one for itself as a mark, or with ? behind it for a mark that may be missing. Between tokens
 *   %         "(2%)" may stand
 *   _ ~       there is a blank; there is none
 *   ^         the place ends: what follows is only looked at */
bool log_match(const struct log_parse *p, size_t i, const char *shape, struct log_match *m);

/* log_prefix.c */
/* Sets p->first behind time stamps, levels and logger names. */
void log_skip_prefix(struct log_parse *p);
/* "INFO", "Warning" */
bool log_is_level(const struct log_parse *p, size_t i);
bool log_is_source_file(struct str word);
/* The first such mark among the next `limit` tokens; SIZE_MAX: none. */
size_t log_find_mark(const struct log_parse *p, size_t i, size_t limit, char mark);

/* log_place.c */
/* "12m", "7s" */
bool log_is_time(const struct log_parse *p, size_t i);
/* May a place begin with the word, though it is no place's name? "after 10 iterations", "epoch/iter: 0/199" */
bool log_may_be_place(struct str word);
/* Finds epoch, step and batch, sets p->own and marks their tokens used. */
void log_find_place(struct log_parse *p);

/* log_name.c */
/* May the word tell one of several series from the others? No number: "batch_10" is no label. */
bool log_is_label(struct log_parse *p, struct str word);
/* The words of tokens [from, to) as one name with single blanks. Empty when there is none. */
struct str log_make_name(struct log_parse *p, size_t from, size_t to);
/* The words of tokens [from, to) became no name: they may tell the section. */
void log_leave_words(struct log_parse *p, size_t from, size_t to);

/* log_value.c */
struct log_reading {
  double values[2];
  unsigned count;
  struct str second; /* suffix of the second value */
  bool percent, second_percent;
  bool measure; /* has a unit: a time, a speed, a size */
  bool integer;
  size_t end;
};

/* The value that starts with the number at i, and what belongs to it. */
void log_read_number(const struct log_parse *p, size_t i, enum log_key_kind kind, struct str name, struct log_reading *r);
/* The value behind a separator: a number, quoted, in brackets, or wrapped. False when there is none. */
bool log_read_value(const struct log_parse *p, size_t i, enum log_key_kind kind, struct str name, struct log_reading *r);
/* "tensor", "np.float64": what may stand around a number. */
bool log_is_wrapper(struct str word);
/* The bracket that closes the one at `open`, among the next `limit` tokens; SIZE_MAX: none. */
size_t log_find_close(const struct log_parse *p, size_t open, size_t limit);

/* log_pairs.c */
void log_find_pairs(struct log_parse *p);

/* log_dict.c */
/* The dict or JSON object at text[at]: its numbers are added as raw pairs, places set. Returns the offset behind it; 0 when it is not
 * complete or none. */
size_t log_find_dict(struct log_parse *p, struct str text, size_t at, bool skip);
/* "data", "output": a dict's name that tells nothing of what is in it. */
bool log_is_container(struct str name);
/* +1 for each bracket open at the end, strings left out. */
int log_dict_depth(struct str text);

/* log_cells.c */
/* Is the line drawn from end to end? */
bool log_is_rule(struct str line);

/* log_table.c */
/* A header, rule or row? True when the line is used up. */
bool log_find_table(struct log_parse *p);
/* Can the text be a row for log_find_row() to look at, which needs no tokens? What log_find_table() would make of it then is the same. */
bool log_may_be_row(const struct log_parse *p, size_t *ret_from);
bool log_find_row(struct log_parse *p, size_t from);

/* log_box.c */
/* A row "| name | number |" of a boxed table. */
bool log_box_row(struct str line, struct str *ret_name, struct str *ret_value);
/* Gives the collected box its points. */
void log_settle_box(struct log_parse *p);

#endif
