/* What a trial reported on its way, coarsely: the first value of each third of an octave of its progress. Trials that report at the same
 * epochs keep values of the same epochs, so that those that were stopped can be compared with those that went on. */
#ifndef WINNOW_SAMPLER_CURVE_H
#define WINNOW_SAMPLER_CURVE_H

#include "base/base.h"

enum { CURVE_POINTS = 16 };

struct curve {
  unsigned count;
  float at[CURVE_POINTS], value[CURVE_POINTS]; /* ascending; as measured, all finite */
};

/* Progress counts whatever the trial counts: epochs, steps. One that does not go on (a later attempt began again there) supersedes what was
 * kept from there on. Of too many the earliest go. Progress that is not positive, and values that are no numbers, are passed over. */
void curve_hear(struct curve *curve, double progress, double value);

/* The third of an octave that this progress is in. */
int curve_cell(double progress);

#endif
