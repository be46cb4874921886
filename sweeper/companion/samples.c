#include "sweeper/companion/samples.h"

void samples_begin(struct samples *samples, int64_t mono_ms) {
  samples->count = samples->sent = 0;
  samples->next_n = samples->last_cpu_ms = 0;
  samples->last_mono_ms = mono_ms;
}

static void thin(struct samples *samples) {
  size_t kept = samples->sent; /* what is on its way must stay where it is */
  for (size_t i = samples->sent; i < samples->count; i += 2)
    samples->items[kept++] = samples->items[i];
  samples->count = kept;
}

void samples_add(struct samples *samples, const struct process_usage *usage, int64_t wall_ms, int64_t mono_ms) {
  int64_t passed = mono_ms - samples->last_mono_ms, used = usage->cpu_ms - samples->last_cpu_ms;
  if (samples->count == SAMPLES_MAX)
    thin(samples);
  if (passed <= 0)
    return;
  samples->items[samples->count++] = (struct sample){.n = samples->next_n++,
                                                     .time_ms = wall_ms,
                                                     .cpu_percent = used > 0 ? 100.0 * (double)used / (double)passed : 0,
                                                     .memory_bytes = usage->rss_bytes,
                                                     .read_bytes = usage->read_bytes,
                                                     .written_bytes = usage->written_bytes,
                                                     .processes = (int64_t)usage->count};
  /* What a process that has just ended used is seen a moment later: the sum must not go back meanwhile. */
  samples->last_cpu_ms = MAX_OF(samples->last_cpu_ms, usage->cpu_ms);
  samples->last_mono_ms = mono_ms;
}

void samples_put(struct samples *samples, struct buf *out) {
  samples->sent = MIN_OF(samples->count, (size_t)SAMPLES_AT_ONCE);
  for (size_t i = 0; i < samples->sent; i++) {
    const struct sample *s = &samples->items[i];
    buf_printf(out, "sample %lld %lld %.1f %lld %lld %lld %lld\n", (long long)s->n, (long long)s->time_ms, s->cpu_percent,
               (long long)s->memory_bytes, (long long)s->read_bytes, (long long)s->written_bytes, (long long)s->processes);
  }
}

void samples_taken(struct samples *samples) {
  samples->count -= samples->sent;
  memmove(samples->items, samples->items + samples->sent, samples->count * sizeof *samples->items);
  samples->sent = 0;
}
