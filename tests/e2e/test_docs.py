#!/usr/bin/env python3
"""What the documentation says is so: the key tables are the schema's, every example and every sweep file in it is taken, its commands exist,
its scripts run. `python3 test_docs.py WINNOW --write` writes the key tables, and what is not heeded yet, anew."""
import pathlib, re, subprocess, sys, unittest, urllib.parse

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import sweep_docs  # noqa: E402
from service import Service  # noqa: E402

SWEEP_FILE = ROOT / "docs/sweep-file.md"
OLD = "docs/sweep-file.md is old: python3 tests/e2e/test_docs.py build/plain/bin/winnow --write"
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)

BASE = {"name": "name: doc", "command": 'command: [python3, train.py, "${args}"]', "metric": "metric: {name: loss}", "method": "method: random",
        "parameters": "parameters: {lr: {min: 0.001, max: 0.1}, n: {values: [1, 2]}, opt: {values: [sgd, adam]}, momentum: {min: 0.0, max: 0.9}}",
        "run_cap": "run_cap: 5"}
# What an example of a part needs beside it.
NEEDS = {"metric": {"name": "name: loss"}, "register": {"model": "model: mnist"}, "metrics_from": {"pattern": "pattern: 'loss=(?P<loss>\\S+)'"}}
RULE_NEEDS = {"bandit": "slack_factor: 0.1", "threshold": "max: 9", "patience": "patience: 3", "hyperband": "min_iter: 1"}


def rule_for(key, example, why):
    """A whole stop rule around one key of it."""
    kinds = re.findall(r"`(\w+)`", why.split("; for ")[1]) if "; for " in why else []
    kind = example.split(": ")[1] if key == "type" else kinds[0] if kinds else "asha"
    parts = [f"type: {kind}"] + ([example] if key != "type" else [])
    if key in ("s", "strict"):
        parts += ["max_iter: 27"] + ([] if key == "s" else ["s: 2"])
    elif kind in RULE_NEEDS and not key.startswith("slack") and RULE_NEEDS[kind].split(":")[0] != key:
        parts.append(RULE_NEEDS[kind])
    return "{" + ", ".join(parts) + "}"


def sweep_with(table, key, example, why):
    """A sweep file that holds the example."""
    if table == "sweep":
        return {**BASE, **({"method": "method: bayes"} if key in ("sampler", "prior") else {}), key: example}
    if table == "sampler":
        return {**BASE, "method": "method: bayes", table: f"sampler: {{{example}}}"}
    if table == "early_terminate":
        return {**BASE, table: f"early_terminate: {rule_for(key, example, why)}"}
    needs = NEEDS.get(table, {})
    if table == "metrics_from" and key in ("file", "format", "when"):
        needs = {"file": "file: log.json"}
    if table == "metrics_from" and key == "builtin":
        needs = {}
    if table == "metrics_from" and key == "key":
        needs = {"pattern": "pattern: 'loss=(?P<value>\\S+)'"}
    parts = {**needs, key: example}
    return {**BASE, table: f"{table}: {{{', '.join(parts.values())}}}"}


def dry_run(service, text):
    """Of somebody for whom the service does not look whether the directories of the pages are there."""
    directory = urllib.parse.quote(str(ROOT / "examples/any-language"))
    return service.post(f"/api/v1/sweeps?dry_run=true&directory={directory}", text.encode(), unix=False, headers={"Content-Type": "application/yaml"})


def try_examples(service, document, schema):
    """Each example in a sweep file: ({what the service does not heed yet: why}, [what it does not take])"""
    not_yet, wrong, made = {}, [], sweep_docs.tables(schema)
    for table, rows in sweep_docs.read(document).items():
        for key, example in rows.items():
            if table == sweep_docs.IGNORED:
                continue
            spec = "\n".join(sweep_with(table, key, example, made[table][key][3]).values()) + "\n"
            answer = dry_run(service, spec).json
            said = [answer["detail"]] if "detail" in answer else answer["warnings"]
            said = [text for text in said if not (key == "prior" and "there is no sweep" in text)]  # it is taken, and of some other service
            pending = [re.search(r"not (?:supported|heeded) yet: (.*)", text) for text in said]
            if any(pending):
                not_yet[key if table == "sweep" else f"{table}.{key}"] = next(match[1] for match in pending if match)
            elif said:
                wrong.append((spec, said))
    return {key: why for key, why in not_yet.items() if key.split(".")[0] == key or key.split(".")[0] not in not_yet}, wrong


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])
        cls.schema = cls.s.get("/api/v1/schemas/sweep").json
        cls.document = SWEEP_FILE.read_text()

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def test_the_key_tables_are_those_of_the_schema(self):
        self.assertEqual(self.document, sweep_docs.write(self.document, self.schema), OLD)
        tables = sweep_docs.read(self.document)
        self.assertEqual(tables.keys(), sweep_docs.tables(self.schema).keys())
        without = [(name, key) for name, rows in tables.items() for key, example in rows.items() if not example and name != sweep_docs.IGNORED]
        self.assertEqual(without, [], "keys without an example")

    def test_every_example_is_taken(self):
        not_yet, wrong = try_examples(self.s, self.document, self.schema)
        self.assertEqual(wrong, [])
        self.assertEqual(self.document, sweep_docs.write_not_yet(self.document, not_yet), OLD)

    def test_every_form_of_a_parameter_is_taken(self):
        section = self.document.split("## Parameters\n")[1].split("\n## ")[0]
        forms = re.findall(r"^\| `(\{[^`]+)` \|", section, re.M)
        self.assertGreater(len(forms), 10)
        for form in forms:
            form = form.replace("{...}", "{min: 0.1, max: 1.0}")
            answer = dry_run(self.s, f"name: form\nmethod: random\nrun_cap: 2\nparameters: {{x: {form}}}\n")
            self.assertEqual(answer.status, 200, (form, answer))

    def test_every_sweep_file_in_the_pages_is_taken(self):
        seen = 0
        for page in PAGES:
            for language, text in BLOCK.findall(page.read_text()):
                if language in ("yaml", "json"):
                    answer = dry_run(self.s, text)
                    self.assertEqual(answer.status, 200, (page.name, text, answer))
                    seen += 1
        self.assertGreaterEqual(seen, 3)

    def test_every_command_in_the_pages_exists(self):
        """Nouns, verbs, and the flags they are given."""
        seen = {}
        for page in PAGES:
            for line in re.findall(r"(?:^ {4}(?:build/plain/bin/)?|`)winnow ([a-z][^`\n#;]*)", page.read_text(), re.M):
                seen.setdefault(line.strip(), page.name)
        self.assertGreater(len(seen), 30)
        nouns = dict(re.findall(r"^  (\w+) +(.*)$", self.help().split("Commands\n")[1].split("\n\n")[0], re.M))
        for line, page in seen.items():
            words = line.split()
            self.assertIn(words[0], [*nouns, "help", "exec"], (page, line))
            about = self.help(words[0])
            if "\nVerbs\n" in about and len(words) > 1:
                self.assertRegex(about, rf"(?m)^  {words[1]}\b", (page, line))
                about = self.help(*words[:2])
            for flag in re.findall(r" (--[a-z-]+|-[a-z])\b", line):
                self.assertRegex(about, rf"(?m)^ +(-\w, )?{flag}\b", (page, line)) if words[0] != "serve" else None

    def help(self, *words):
        done = subprocess.run([str(WINNOW), *words, "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, words)
        return done.stdout

    def test_the_scripts_of_the_guide_run(self):
        for language, text in BLOCK.findall((ROOT / "docs/guide.md").read_text()):
            if language == "python" and "import mlflow" not in text:
                done = subprocess.run([sys.executable, "-c", text.replace("http://127.0.0.1:7070", self.s.url)], capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, (text, done.stderr))
                self.assertIn("best", done.stdout)

    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^)]*)\)", page.read_text()):
                file = page.parent / target if target else page
                self.assertTrue(file.exists(), (page.name, target))
                headings = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", file.read_text(), re.M)] if anchor else []
                self.assertTrue(not anchor or anchor in headings, (page.name, anchor))


if __name__ == "__main__":
    if "--write" in sys.argv:
        with Service(WINNOW) as service:
            schema = service.get("/api/v1/schemas/sweep").json
            document = sweep_docs.write(SWEEP_FILE.read_text(), schema)
            SWEEP_FILE.write_text(sweep_docs.write_not_yet(document, try_examples(service, document, schema)[0]))
    else:
        unittest.main(verbosity=2)
