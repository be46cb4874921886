"""Between companions and the service: what one says to the other can be held back."""
import socket, threading


class Proxy:
    """Paused, it takes what comes and passes nothing on; each direction by itself, or both."""

    def __init__(self, service):
        self.service, self.path, self.target = service, str(service.home / "proxy.sock"), str(service.data / "winnow.sock")
        self.asks, self.answers, self.sockets, self.last_ask = threading.Event(), threading.Event(), [], None
        self.asked, self.has_answer = None, threading.Event()  # who has asked that last; whether what it was answered is here
        self.resume()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def put_between(self):
        """From now on companions that are started, or look for the service again, come this way. A service that starts takes them back."""
        (self.service.data / "endpoint").write_text(f"unix:{self.path}\n")

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self.sockets += [near, far]
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                continue
            for a, b, may_pass in ((near, far, self.asks), (far, near, self.answers)):
                threading.Thread(target=self.carry, args=(a, b, may_pass), daemon=True).start()

    def carry(self, a, b, may_pass):
        try:
            while data := a.recv(65536):
                if b is self.asked:
                    self.has_answer.set()
                may_pass.wait()
                if may_pass is self.asks and self.last_ask and self.last_ask in data:
                    self.asked = a
                    self.answers.clear()
                b.sendall(data)
        except OSError:
            pass
        may_pass.wait()
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pause(self):
        self.asks.clear()
        self.answers.clear()

    def hold_answers(self):
        self.answers.clear()

    def hold_answers_from(self, ask):
        """What is asked before that is answered: who waits for an answer asks nothing more. Its head comes in one piece."""
        self.last_ask = ask

    def resume(self):
        self.last_ask = None
        self.asks.set()
        self.answers.set()

    def close(self):
        self.resume()
        for end in (self.server, *self.sockets):
            end.close()
