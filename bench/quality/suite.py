"""The problems: Q20 (twenty lines; a line may have several problems, which count as one), others that took part in
choosing settings as well (held-out), and those on which nothing was chosen (fresh)."""

import functions
import tables

SHORT = ("hartmann6", "ackley10", "training", "func2c", "hpobench-vehicle", "curves-digits")


def problems(which="q20"):
    if which == "held-out":
        return [*functions.held_out(), *tables.held_out()]
    if which == "fresh":
        return [*functions.fresh(), *tables.fresh()]
    q20 = [*functions.suite(), *tables.suite()]
    return [p for p in q20 if p.name in SHORT] if which == "short" else q20
