/* A control group (version 2) of the job's own, where the kernel and whoever started the service let us have one. It holds every process of
 * the job, counts what they use, and ends them all at once. Where there is none, everything here says so and /proc has to do. */
#ifndef WINNOW_SWEEPER_CGROUP_H
#define WINNOW_SWEEPER_CGROUP_H

#include "sweeper/machine/job_file.h"

struct cgroup {
  char path[512]; /* "": none */
};

/* The group that this attempt has, if it has one: beside our own, which is also the service's. */
void cgroup_find(struct cgroup *group, struct id run, int64_t attempt);
/* Makes it. `memory_limit` of the job is the group's too, as far as that can be set. */
void cgroup_make(struct cgroup *group, const struct job_file *job);
/* The calling process joins, if it may. */
void cgroup_join(const struct cgroup *group);
/* KILL to all of it; false: not by us. */
bool cgroup_kill(const struct cgroup *group);
/* False: not yet, something in it lives. Groups that the job has made in it stay. */
bool cgroup_remove(struct cgroup *group);

/* What cannot be told is -1. */
struct cgroup_usage {
  int64_t cpu_ms;     /* of all its processes, ended ones too */
  int64_t anon_bytes; /* memory that is nobody else's and no file's */
  int64_t read_bytes, written_bytes;
  int64_t oom_kills; /* processes of it that the kernel ended for want of memory */
};
void cgroup_usage(const struct cgroup *group, struct cgroup_usage *ret);

/* The number after `key` in lines of `key number`; -1: there is none. Pure. */
int64_t cgroup_value(struct str text, const char *key);
/* The sum over all devices of `key=number` in io.stat. Pure. */
int64_t cgroup_io(struct str text, const char *key);

#endif
