"""Tables of synthetic runs for tests of the protocol, without training or a clock."""

import dataclasses

import numpy as np

from steepest.study import space
from steepest.study.question import Scale
from steepest.study.table import Table, question

POINTS = Scale("accuracy", "max", in_points=True, examples=1000)
LOSS = Scale("loss", "min")


def made(optimizers="sgd,adam", schedules="constant", rates=9, columns=100, fresh=5, seed=0, spread=1.0, best=90.0):
    """A table of accuracies: a parabola over log rates that peaks in the middle, an offset by optimizer, noise by seed."""
    rng = np.random.default_rng(seed)
    spaces = space.spaces(optimizers.split(","), schedules.split(","), None)
    grids = [s.rate.values(s.rate.first(rates)) for s in spaces]
    rows = []
    for k, grid in enumerate(grids):
        for i in range(len(grid)):
            rows.append(best - 1.5 * k - (i - len(grid) // 2) ** 2 + spread * rng.standard_normal(columns))
    return Table(spaces, grids, np.array(rows), fresh)


def asked(table, scale=POINTS, **fields):
    """A question for a table."""
    return question(table, scale, **({"steps": 100} | fields))


def changed(table, **cells):
    """A table with changed values in rows `label at rate`, such as {"adam": {0.1: nan}}."""
    recorded = table.recorded.copy()
    for label, rates in cells.items():
        for lr, value in rates.items():
            recorded[table.rows[label, lr]] = value
    spaces = [dataclasses.replace(s, axes=(dataclasses.replace(s.rate, low=0.0, high=np.inf), *s.others)) for s in table.spaces]
    grids = [[lr for label, lr in table.rows if label == s.label] for s in spaces]
    return Table(spaces, grids, recorded, table.fresh)
