/* The processes of a private cluster: found by where they work, for numbers in files may be another's by now. */
#ifndef WINNOW_STORAGE_PG_PROCESSES_H
#define WINNOW_STORAGE_PG_PROCESSES_H

#include "base/err.h"

/* The server that runs the cluster `data`, or 0: a process that has ended runs nothing, whether or not anybody has asked how. */
pid_t pg_processes_server(const char *data);
/* Sends the signal to every process of the cluster, and SIGCONT, for who is stopped hears of nothing else. Returns how many there are. */
size_t pg_processes_signal(const char *data, int signal_number);
/* Ends what a server that is gone has left, processes and the file with its number. Blocking, five seconds at most. */
MUST_CHECK bool pg_processes_clear(const char *data, struct err *err);

#endif
