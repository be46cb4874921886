"""What proposes points: our sampler, directly and through a running service, and its peers. All have begin, ask, tell, end.

An ask answers (handle, params); params is None where no point is left."""

import atexit
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))


def active(problem, params, key):
    """Is this parameter in use, given those before it?"""
    rules = [c["if"] for c in problem.conditions if key in c["then"]]
    return not rules or any(all(params.get(k) == v for k, v in rule.items()) for rule in rules)


def shape(spec):
    """(values or None, least, most, is whole, is logarithmic)"""
    if "value" in spec or "values" in spec:
        return spec.get("values", [spec.get("value")]), None, None, False, False
    whole = isinstance(spec["min"], int) and isinstance(spec["max"], int)
    return None, spec["min"], spec["max"], whole, spec.get("log", False) or spec.get("distribution") == "log_uniform_values"


class Unsuited(Exception):
    """A method that does not take the problem's space."""


class Direct:
    """The sampler without a service around it: the program bench_quality."""

    def __init__(self, sampler, program, early_terminate=None):
        self.sampler, self.early, self.process = sampler, early_terminate, subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def begin(self, problem, seed, trials=None):
        study = {"parameters": problem.parameters, "conditions": problem.conditions, "sampler": self.sampler, "seed": seed}
        if self.early:
            study["early_terminate"] = self.early
        try:
            self.call(study)
        except RuntimeError as why:
            self.end()
            raise Unsuited(str(why)) from None
        self.asked = 0

    def ask(self):
        answer = self.call({"ask": self.asked})
        self.asked += 1
        return answer.get("number"), answer.get("params")

    def report(self, handle, step, value):
        """True: go on."""
        return not self.call({"report": handle, "epoch": step, "value": value})["stop"]

    def tell(self, handle, value, stopped_at=None):
        self.call({"tell": handle, "value": value, **({"state": "stopped", "step": stopped_at} if stopped_at else {})})

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Server:
    """A `winnow serve` of its own, shared by all studies of a process."""

    shared = None

    def __init__(self, winnow):
        sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "support"))
        from service import Service

        self.service = Service(winnow)
        host, port = self.service.url.split("//")[1].split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=600)

    @classmethod
    def get(cls, winnow):
        if not cls.shared:
            cls.shared = cls(winnow)
            atexit.register(cls.shared.service.close)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service ends with us
        return cls.shared

    def call(self, method, path, body=None):
        self.connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError("%s %s: %d %s" % (method, path, answer.status, text.decode()[:500]))
        return json.loads(text) if text else {}


class Http:
    """As users have it: a sweep of the service, asked and told."""

    def __init__(self, sampler, winnow, early_terminate=None):
        self.sampler, self.server, self.early = sampler, Server.get(winnow), early_terminate

    def begin(self, problem, seed, trials=None):
        sweep = {"name": problem.name, "metric": {"name": "value", "goal": "minimize"}, "parameters": problem.parameters,
                 "sampler": {"type": self.sampler, "seed": seed}, "run_cap": trials or problem.trials, "max_parallel": 64}
        if problem.conditions:
            sweep["conditions"] = problem.conditions
        if self.early:
            sweep["early_terminate"] = self.early
        self.id = self.server.call("POST", "/sweeps", sweep)["id"]

    def ask(self):
        trials = self.server.call("POST", "/sweeps/%s/ask" % self.id, {"count": 1})["trials"]
        return (trials[0]["run_id"], trials[0]["params"]) if trials else (None, None)

    def report(self, handle, step, value):
        """True: go on."""
        body = {"step": step, "epoch": step, "metrics": {"value": value}}
        return self.server.call("POST", "/runs/%s/report" % handle, body)["verdict"] == "continue"

    def tell(self, handle, value, stopped_at=None):
        trial = {"run_id": handle, "state": "STOPPED" if stopped_at else "FINISHED"}
        if not stopped_at:
            trial["value"] = value
        self.server.call("POST", "/sweeps/%s/tell" % self.id, {"trials": [trial]})

    def end(self):
        pass


class Optuna:
    version = "optuna 5.0.0"

    def __init__(self, kind, pruner=None):
        import optuna

        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.kind, self.pruner = optuna, kind, pruner

    def make_pruner(self, problem):
        p = self.optuna.pruners
        if not self.pruner:
            return p.NopPruner()
        if self.pruner == "median":
            return p.MedianPruner()
        if self.pruner == "asha":
            return p.SuccessiveHalvingPruner()
        return p.HyperbandPruner(max_resource=problem.curves.epochs)

    def begin(self, problem, seed, trials=None):
        s = self.optuna.samplers
        make = {"tpe": s.TPESampler, "gp": s.GPSampler, "cmaes": s.CmaEsSampler, "random": s.RandomSampler}[self.kind]
        self.problem, self.study = problem, self.optuna.create_study(sampler=make(seed=seed), pruner=self.make_pruner(problem))

    def suggest(self, trial, key):
        values, low, high, whole, log = shape(self.problem.parameters[key])
        if values:
            return trial.suggest_categorical(key, values) if len(values) > 1 else values[0]
        return (trial.suggest_int if whole else trial.suggest_float)(key, low, high, log=log)

    def ask(self):
        trial, params = self.study.ask(), {}
        for key in self.problem.parameters:
            if active(self.problem, params, key):
                params[key] = self.suggest(trial, key)
        return trial, params

    def report(self, trial, step, value):
        trial.report(value, step)
        return not trial.should_prune()

    def tell(self, trial, value, stopped_at=None):
        if stopped_at:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, value)

    def end(self):
        pass


class Smac:
    version = "smac 2.4.1"

    def __init__(self, kind):
        self.kind = kind

    def space(self, problem, seed):
        import ConfigSpace as cs

        space, parts = cs.ConfigurationSpace(seed=seed), {}
        for key, spec in problem.parameters.items():
            values, low, high, whole, log = shape(spec)
            if values:
                parts[key] = cs.Categorical(key, values) if len(values) > 1 else cs.Constant(key, values[0])
            elif whole:
                parts[key] = cs.Integer(key, (low, high), log=log)
            else:
                parts[key] = cs.Float(key, (low, high), log=log)
        space.add(list(parts.values()))
        for rule in problem.conditions:
            for child in rule["then"]:
                equal = [cs.EqualsCondition(parts[child], parts[k], v) for k, v in rule["if"].items()]
                space.add(equal[0] if len(equal) == 1 else cs.AndConjunction(*equal))
        return space

    def begin(self, problem, seed, trials=None):
        import smac
        from smac.runhistory.dataclasses import TrialValue

        self.told, self.home = TrialValue, tempfile.TemporaryDirectory(prefix="quality-smac-")
        facade = {"rf": smac.HyperparameterOptimizationFacade, "gp": smac.BlackBoxFacade}[self.kind]
        scenario = smac.Scenario(self.space(problem, seed), n_trials=trials or problem.trials, deterministic=True, seed=seed, output_directory=self.home.name)
        self.facade = facade(scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False)

    def ask(self):
        info = self.facade.ask()
        return info, {k: v.item() if hasattr(v, "item") else v for k, v in dict(info.config).items()}

    def tell(self, info, value):
        self.facade.tell(info, self.told(cost=value))

    def end(self):
        self.home.cleanup()


class Hebo:
    version = "HEBO 0.3.6"

    def begin(self, problem, seed, trials=None):
        import numpy as np
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.np, parts, self.fixed = np, [], {}
        for key, spec in problem.parameters.items():
            values, low, high, whole, log = shape(spec)
            if values and len(values) == 1:
                self.fixed[key] = values[0]
            elif values:
                parts.append({"name": key, "type": "cat", "categories": values})
            else:
                kind = ("pow_int" if whole else "pow") if log else ("int" if whole else "num")
                parts.append({"name": key, "type": kind, "lb": low, "ub": high})
        self.problem, self.opt = problem, HEBO(DesignSpace().parse(parts), scramble_seed=seed)

    def ask(self):
        row = self.opt.suggest(n_suggestions=1)
        params = {**self.fixed, **{k: v.item() if hasattr(v, "item") else v for k, v in row.iloc[0].to_dict().items()}}
        for key, spec in self.problem.parameters.items():
            if shape(spec)[3]:
                params[key] = int(params[key])
        return row, params  # of a conditional space it sees all parameters

    def tell(self, row, value):
        self.opt.observe(row, self.np.array([[value]]))

    def end(self):
        pass


def make(name, args):
    family, _, kind = name.partition("-")
    if family == "http":
        return Http(kind, args.winnow)
    if family == "optuna":
        return Optuna(kind)
    if family == "smac":
        return Smac(kind)
    if family == "hebo":
        return Hebo()
    return Direct(name, args.program)
