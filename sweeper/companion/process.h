/* The command of one attempt: started in a session of its own, stopped with everything it started. */
#ifndef WINNOW_COMPANION_PROCESS_H
#define WINNOW_COMPANION_PROCESS_H

#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "sweeper/machine/cgroup.h"
#include "sweeper/machine/job_file.h"

struct process {
  pid_t pid; /* also its session and process group; 0: none */
  struct cgroup group;
  int64_t oom_before; /* see process_note_oom() */
};

/* Before anything is started: orphans of the job come to us. */
void process_become_subreaper(void);
/* Output goes to the two descriptors, which are a terminal where the job wants one. An unknown command or directory is ERR_NOT_FOUND,
 * others ERR_IO. */
MUST_CHECK bool process_start(struct process *process, const struct job_file *job, int stdout_fd, int stderr_fd, struct err *err);
/* To every process of the job, double-forked ones too. Returns how many were found. */
size_t process_signal(const struct process *process, int signal_number);
bool process_any_alive(void);
/* Instead of a start: it was an earlier companion's, and has ended. */
void process_take_over(struct process *process, const struct job_file *job);
/* Removes the control group; after everything has ended. */
void process_release(struct process *process);

struct process_usage {
  int64_t cpu_ms;                    /* user and system, of what runs and of what has ended */
  int64_t rss_bytes;                 /* resident, of what runs now */
  int64_t read_bytes, written_bytes; /* to storage, of what runs now */
  size_t count;
};
/* Whether the kernel ended processes for want of memory: of this job, or, where only that can be told, somewhere on this machine since
 * process_note_oom(). */
enum process_oom { OOM_NONE, OOM_JOB, OOM_MACHINE };
void process_note_oom(struct process *process);
enum process_oom process_oom(const struct process *process);
void process_usage(const struct process *process, struct process_usage *ret);

#endif
