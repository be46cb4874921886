"""The problems: Q20 (twenty lines; a line may have several problems, which count as one), and others that nothing was chosen on."""

import functions
import tables

SHORT = ("hartmann6", "ackley10", "training", "func2c", "hpobench-vehicle", "curves-digits")


def problems(which="q20"):
    if which == "held-out":
        return [*functions.held_out(), *tables.held_out()]
    q20 = [*functions.suite(), *tables.suite()]
    return [p for p in q20 if p.name in SHORT] if which == "short" else q20
