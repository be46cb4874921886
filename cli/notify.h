/* Tells systemd how the service stands (sd_notify's protocol). Without NOTIFY_SOCKET it does nothing. */
#ifndef WINNOW_CLI_NOTIFY_H
#define WINNOW_CLI_NOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=…", "STATUS=…" */
void notify_systemd(const char *state);

#endif
