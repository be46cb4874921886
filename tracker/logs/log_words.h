/* What the words of a log mean: which names are metrics, which are clocks, sizes or settings, which tell the place (epoch, step, batch),
 * which tell the section (training, validation, test). */
#ifndef WINNOW_TRACKER_LOG_WORDS_H
#define WINNOW_TRACKER_LOG_WORDS_H

#include "base/str.h"

enum log_word {
  LOG_WORD_METRIC = 1,   /* loss, accuracy, f1 */
  LOG_WORD_CLOCK = 2,    /* times, speeds, memory */
  LOG_WORD_SETTING = 4,  /* sizes, counts, hyperparameters */
  LOG_WORD_SCHEDULE = 8, /* learning rate, momentum: metrics only beside others */
  LOG_WORD_EPOCH = 16,
  LOG_WORD_STEP = 32,
  LOG_WORD_BATCH = 64,
  LOG_WORD_TRAIN = 128,
  LOG_WORD_VALID = 256,
  LOG_WORD_TEST = 512,
  LOG_WORD_SECTION = LOG_WORD_TRAIN | LOG_WORD_VALID | LOG_WORD_TEST,
  LOG_WORD_FILLER = 1024, /* words that may stand before a name without belonging to it */
  LOG_WORD_LIMIT = 2048,  /* before a place word: "max epoch", "best step" tell no place; "loss from 3" is no value */
  LOG_WORD_UNIT = 4096,   /* a word that makes the number before it a measure of time, size or speed */
  LOG_WORD_LEVEL = 8192,  /* INFO, WARNING */
  LOG_WORD_TALK = 16384,  /* "improved", "patience": the line talks about metrics and reports none */
  LOG_WORD_HEAD = 32768,  /* of the name of several words that is a metric or a place only as a whole: "lower bound" */
};

/* The flags of one word, any case. 0 when it means nothing special. */
unsigned log_word(struct str word);

/* For the tests: are the words in the order that the search needs? */
bool log_words_in_order(void);

#endif
