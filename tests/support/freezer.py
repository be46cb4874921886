#!/usr/bin/env python3
"""Runs a test while processes of it stand still, one moment or another: `freezer.py [SEED] -- python3 tests/e2e/test_x.py PROGRAM [TEST]`.

What the test starts of ours and of Postgres is stopped at random, alone or all of a kind, for 0.1 to 3 s, and continued. Such a machine is
slow, and nothing more: a test that fails here has found a fault, or supposes how long something takes. It prints its seed. Only what a test stops
while it stands still by us goes on too early: look for that where a test stops processes itself."""
import ctypes, os, random, signal, subprocess, sys, time

KINDS = ("winnow", "winnow-exec", "postgres")
PR_SET_CHILD_SUBREAPER = 36


def processes():
    """Id -> (parent, name, state)."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                text = file.read()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        found[int(entry)] = (int(rest[1]), name, rest[0])
    return found


def ours():
    """Those that descend from us, whoever has started them, and run: one that the test has stopped is the test's."""
    all_of, found, added = processes(), {os.getpid()}, True
    while added:
        more = {pid for pid, (parent, _, _) in all_of.items() if parent in found} - found
        found |= more
        added = bool(more)
    return [(pid, all_of[pid][1]) for pid in found if pid in all_of and all_of[pid][1] in KINDS and all_of[pid][2] not in "TtZ"]


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


class Test:
    def __init__(self, command):
        self.process = subprocess.Popen(command)
        self.code = None

    def pause(self, seconds):
        """Ends of those that nobody else waits for are taken note of meanwhile."""
        end = time.monotonic() + seconds
        while self.code is None and time.monotonic() < end:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self.process.pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif not pid:
                time.sleep(0.01)


def main():
    at = sys.argv.index("--") if "--" in sys.argv else 0
    if not at or at > 2:
        sys.exit("usage: freezer.py [SEED] -- COMMAND...")
    seed = int(sys.argv[1]) if at == 2 else int(time.time()) % 100000
    print(f"freezer: seed {seed}", flush=True)
    chance, frozen = random.Random(seed), 0
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    test = Test(sys.argv[at + 1:])
    while test.code is None:
        test.pause(chance.uniform(0.05, 1))
        candidates = ours()
        if not candidates or test.code is not None:
            continue
        pid, kind = chance.choice(sorted(candidates))
        victims = [one for one, name in candidates if name == kind] if chance.random() < 0.3 else [pid]
        send(victims, signal.SIGSTOP)
        test.pause(chance.choice((chance.uniform(0.1, 0.5), chance.uniform(0.5, 3))))
        send(victims, signal.SIGCONT)
        frozen += len(victims)
    print(f"freezer: seed {seed}: {frozen} times, {'passed' if test.code == 0 else 'failed'}", flush=True)
    sys.exit(1 if test.code else 0)


if __name__ == "__main__":
    main()
