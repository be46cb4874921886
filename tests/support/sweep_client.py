"""What tests of sweeps share: a space, an objective, the calls that are made all the time. self.s is a Service."""
import unittest

from service import wait  # noqa: F401

SPACE = {"x": {"min": -2.0, "max": 2.0}, "kind": {"values": ["a", "b"]}}


def quadratic(params):
    return (params["x"] - 0.5) ** 2 + (0.1 if params["kind"] == "b" else 0.0)


class Base(unittest.TestCase):
    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def submit(self, spec, status=201, **query):
        path = "/api/v1/sweeps" + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
        return self.ok(self.s.post(path, spec), status)

    def sweep(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}"))

    def trials(self, sweep):
        items, cursor = [], None
        while True:
            page = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials?limit=50" + (f"&cursor={cursor}" if cursor else "")))
            items += page["items"]
            cursor = page["next"]
            if not cursor:
                return items

    def ask(self, sweep, count=1, **more):
        return self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"count": count, **more}, unix=False))

    def tell(self, sweep, *trials):
        return self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": list(trials)}, unix=False)
