/* The GPUs of this machine: NVIDIA's through NVML, loaded when it is there, AMD's through sysfs. Nothing is linked, and a machine without
 * either has none. gpus_sample() may take a while and touches nothing but the drivers: it may run on the thread pool, one call at a time,
 * beside the others, which only read what was found. */
#ifndef WINNOW_SWEEPER_GPUS_H
#define WINNOW_SWEEPER_GPUS_H

#include "base/buf.h"
#include "base/err.h"

enum { GPUS_MAX = 64, GPU_UUID_MAX = 96, GPU_NAME_MAX = 96 };
enum gpu_maker { GPU_NVIDIA, GPU_AMD };

struct gpu {
  enum gpu_maker maker;
  char uuid[GPU_UUID_MAX]; /* as the maker's variables take it: "GPU-…", "MIG-…" */
  char name[GPU_NAME_MAX];
  int64_t memory; /* bytes; 0: unknown */
};

/* What cannot be told is NaN. */
struct gpu_use {
  double busy;        /* 0 to 1, of its processors */
  double memory_used; /* bytes */
  double watts, celsius;
};

struct gpus_conf {
  const char *nvml;    /* the library; NULL: libnvidia-ml.so.1 */
  const char *drm_dir; /* NULL: /sys/class/drm */
  const char *visible; /* the service's own CUDA_VISIBLE_DEVICES: indexes or UUIDs (or their unique beginnings) to use; NULL: all */
};

struct gpus;

/* Looks once; `conf` is not kept. Trouble with a maker's library (none is no trouble) is told in *ret_trouble, "" else, and its GPUs are
 * not listed. NULL only without memory. */
MUST_CHECK struct gpus *gpus_new(const struct gpus_conf *conf, struct err *ret_trouble);
void gpus_free(struct gpus *gpus); /* accepts NULL */

/* The trouble that was found, for people; NULL: none. */
const char *gpus_trouble(const struct gpus *gpus);
size_t gpus_count(const struct gpus *gpus);
/* In the order of the maker's own tools; `i` below the count. Lives as long as `gpus`. */
const struct gpu *gpus_at(const struct gpus *gpus, size_t i);
/* SIZE_MAX: there is none of that UUID. */
size_t gpus_find(const struct gpus *gpus, struct str uuid);
void gpus_sample(const struct gpus *gpus, size_t i, struct gpu_use *ret);

/* The variables that show a process the GPUs `which` and no others, all three to be set; an empty value hides all of that maker. HIP counts
 * among what ROCR_VISIBLE_DEVICES leaves, and would take CUDA_VISIBLE_DEVICES for its own. Where gpus_count() is 0 leave the environment of
 * a job as it is. */
enum { GPUS_VARIABLES = 3 };
struct gpu_variable {
  const char *name;
  struct buf value; /* to be released by the caller */
};
void gpus_variables(const struct gpus *gpus, const size_t *which, size_t count, struct gpu_variable ret[GPUS_VARIABLES]);

#endif
