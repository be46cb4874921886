/* What a whole name of a log means, by its words: a metric, a section, a clock, a setting, or the place (epoch, step, batch). */
#ifndef WINNOW_TRACKER_LOG_KEY_H
#define WINNOW_TRACKER_LOG_KEY_H

#include "base/str.h"

enum log_key_kind {
  LOG_KEY_UNKNOWN,
  LOG_KEY_METRIC,
  LOG_KEY_SECTION, /* only section words: "Train: 0.93" */
  LOG_KEY_SCHEDULE,
  LOG_KEY_CLOCK,
  LOG_KEY_SETTING,
  LOG_KEY_EPOCH,
  LOG_KEY_STEP,
  LOG_KEY_BATCH,
};

struct log_key {
  enum log_key_kind kind;
  unsigned sections; /* the section words it contains: enum log_word */
  bool heads;        /* it may stand in the header of a table, which has one such word at least */
};

/* A whole name, of one or several words joined by blanks, '_', '-', '/', '.' or capitals. */
struct log_key log_key_classify(struct str name);

/* The next word inside a name: splits at what is no letter or digit, at capitals after small letters, and between letters and the
 * number at the end. False at the end. */
bool log_subword(struct str *rest, struct str *ret);

/* Is it a section word ("Validation", "train_inner")? */
bool log_is_section(struct str word);

/* For the tests: does each metric and place that is known by its whole name have a word that heads? */
bool log_keys_lead(void);

#endif
