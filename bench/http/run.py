#!/usr/bin/env python3
"""Measures HTTP servers side by side: requests a second, memory of idle connections, large bodies.

  run.py --build build/plain                 our bench server and its evhttp peer, in turn
  run.py --url http://127.0.0.1:5000/api/v1/status [--pid N]    any server that runs already: requests a second, idle connections
  --rounds 3 --seconds 5 --connections 64 --idle 10000 --gib 1 --port 20100

Needs wrk. Each round takes the servers in turn, so that whatever else the machine does meets all of them. The server is pinned to the
first processor and wrk to the second when there are two.
"""
import argparse, os, re, resource, socket, statistics, subprocess, sys, tempfile, time
from urllib.parse import urlsplit


def memory_kib(pid, key="VmRSS"):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(rf"^{key}:\s+(\d+)", status.read(), re.M).group(1))


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pinned(cpu, argv):
    return ["taskset", "-c", str(cpu), *argv] if (os.cpu_count() or 1) > 1 else argv


def wait_for_port(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


class Server:
    def __init__(self, program, port, file):
        self.name, self.port, self.log = os.path.basename(program), port, tempfile.TemporaryFile()
        self.process = subprocess.Popen(pinned(0, [program, str(port), file]), stderr=self.log, stdout=self.log)
        wait_for_port(port)
        self.pid, self.url = self.process.pid, f"http://127.0.0.1:{port}/hello"

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def requests_a_second(url, pid, options):
    before = cpu_seconds(pid) if pid else 0
    argv = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency", url]
    out = subprocess.run(pinned(1, argv), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        print(out, file=sys.stderr)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    total = int(re.search(r"(\d+) requests in", out).group(1))
    p99 = re.search(r"99%\s+(\S+)", out).group(1)
    return rate, (cpu_seconds(pid) - before) / total * 1e6 if pid else float("nan"), p99


def read_answer(conn):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            raise OSError("the server has closed")
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"content-length: (\d+)", head, re.I).group(1))
    while len(body) < length:
        body += conn.recv(65536)
    return head, body


def idle_connections(url, pid, count):
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    before, conns = memory_kib(pid), []
    for _ in range(count):
        conn = socket.create_connection((parts.hostname, parts.port), 10)
        conn.sendall(request)  # each has served a request before it idles
        read_answer(conn)
        conns.append(conn)
    after = memory_kib(pid)
    for conn in conns:
        conn.close()
    return (after - before) * 1024 / count


def upload(server, size):
    conn = socket.create_connection(("127.0.0.1", server.port), 10)
    piece, before, start = b"x" * (1 << 20), memory_kib(server.pid, "VmHWM"), time.monotonic()
    conn.sendall(f"PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    for _ in range(size // len(piece)):
        conn.sendall(piece)
    _, body = read_answer(conn)
    assert str(size).encode() in body, body
    return size / (time.monotonic() - start) / 1e9, (memory_kib(server.pid, "VmHWM") - before) / 1024


def download(server, size):
    conn = socket.create_connection(("127.0.0.1", server.port), 10)
    room, before, start = bytearray(1 << 20), memory_kib(server.pid, "VmHWM"), time.monotonic()
    conn.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    got = 0
    while n := conn.recv_into(room):
        got += n
    assert got >= size, got
    return got / (time.monotonic() - start) / 1e9, (memory_kib(server.pid, "VmHWM") - before) / 1024


def compare(options):
    size = int(options.gib * (1 << 30))
    programs = [os.path.join(options.build, "bin", name) for name in ("hello_evhttp", "hello_winnow")]
    rates = {program: [] for program in programs}
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        for round_number in range(options.rounds):
            for k, program in enumerate(programs):
                server = Server(program, options.port + 2 * round_number + k, file.name)
                rates[program].append(requests_a_second(server.url, server.pid, options))
                server.stop()
        print(f"{'':14} {'requests/s':>12} {'best':>9} {'us CPU':>7} {'p99':>9} {'idle B':>8} {'up GB/s':>8} {'+MiB':>6} {'down':>6} {'+MiB':>6}")
        for k, program in enumerate(programs):
            server = Server(program, options.port + 100 + k, file.name)
            idle = idle_connections(server.url, server.pid, options.idle)
            server.stop()
            server = Server(program, options.port + 110 + k, file.name)
            down, down_mib = download(server, size)
            server.stop()
            server = Server(program, options.port + 120 + k, file.name)
            up, up_mib = upload(server, size)
            server.stop()
            rate = [r[0] for r in rates[program]]
            print(f"{server.name:14} {statistics.median(rate):12.0f} {max(rate):9.0f} {statistics.median(r[1] for r in rates[program]):7.2f} "
                  f"{rates[program][-1][2]:>9} {idle:8.0f} {up:8.2f} {up_mib:6.1f} {down:6.2f} {down_mib:6.1f}")


def measure_url(options):
    results = [requests_a_second(options.url, options.pid, options) for _ in range(options.rounds)]
    for rate, cpu, p99 in results:
        print(f"{rate:10.0f} requests/s  {cpu:6.2f} us CPU each  p99 {p99}")
    if options.pid:
        print(f"{idle_connections(options.url, options.pid, options.idle):.0f} bytes for an idle connection")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/plain")
    parser.add_argument("--url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--gib", type=float, default=1)
    parser.add_argument("--port", type=int, default=20100)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.idle = min(options.idle, hard - 100)
    measure_url(options) if options.url else compare(options)


if __name__ == "__main__":
    main()
