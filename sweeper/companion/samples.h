/* What the job used, now and then: kept until the service has stored it. Bounded: after a long time without a service every second sample
 * goes, again and again, so that the whole time stays covered. */
#ifndef WINNOW_COMPANION_SAMPLES_H
#define WINNOW_COMPANION_SAMPLES_H

#include "base/buf.h"
#include "sweeper/companion/process.h"

enum { SAMPLES_MAX = 720, SAMPLES_AT_ONCE = 60 };

struct sample {
  int64_t n, time_ms; /* its number in the attempt, wall clock */
  double cpu_percent; /* of one processor, since the sample before */
  int64_t memory_bytes, read_bytes, written_bytes, processes;
};

struct samples {
  struct sample items[SAMPLES_MAX];
  size_t count;
  size_t sent; /* of them, told and not answered yet */
  int64_t next_n, last_cpu_ms, last_mono_ms;
};

/* The time before the first sample counts from here. */
void samples_begin(struct samples *samples, int64_t mono_ms);
void samples_add(struct samples *samples, const struct process_usage *usage, int64_t wall_ms, int64_t mono_ms);
/* Lines `sample …` as sweeper/machine/system_series.h reads them: the oldest, at most SAMPLES_AT_ONCE. */
void samples_put(struct samples *samples, struct buf *out);
/* What was put last has been stored. */
void samples_taken(struct samples *samples);

#endif
