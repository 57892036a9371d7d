"""The answer of a study as data: what to pick, how far behind the best it could be, and further results.

`conclude` computes it from the course of a study, `sentences` puts it into words, `to_dict` makes its JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .scalars import Amount, Count, Name, Positive, Real, Scalar, Setting, Steps, Words, explained, more, named, plain


@dataclass(frozen=True, kw_only=True)
class Named:
    """A candidate by name; `settings` are its values on the axes other than the learning rate."""

    name: Name
    schedule: Name
    lr: Positive
    label: Name = ""
    settings: dict[str, Scalar] = field(default_factory=dict)

    def __str__(self) -> str:
        return named(self.name, self.lr, self.label, self.settings)

    @property
    def more(self) -> str:
        """Its settings in words, without those of its schedule, which has them in its name."""
        return more(self.settings)

    def as_json(self) -> dict[str, Any]:
        """Its name, schedule and rate, and its settings if other axes were searched."""
        return {"name": self.name, "schedule": self.schedule, "lr": self.lr} | (
            {"settings": self.settings} if self.settings else {}
        )


@dataclass(frozen=True, kw_only=True)
class Rejected(Named):
    """A candidate at least half of whose runs collapsed."""

    collapsed: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class Possible(Named):
    """A candidate that may still be the best, and how far it could be ahead of the pick at most; None if unbounded.

    `is_close`: by its mean it is less than two margins behind the pick.
    """

    ahead_at_most: Real | None
    is_close: bool = True


@dataclass(frozen=True, kw_only=True)
class Measured(Named):
    """The best candidate by another measure, with its mean and the pick's."""

    measure: Name
    value: Real
    pick: Real

    def __str__(self) -> str:
        value, own = (f"{x:,}" if isinstance(x, int) else f"{x:.4g}" for x in (self.value, self.pick))
        return f"{self.measure} {Named.__str__(self)} ({value}; the pick {own})"


@dataclass(frozen=True, kw_only=True)
class Against(Named):
    """The pick or a candidate beside it: how far the pick is ahead on shared seeds, with an interval, and what it costs.

    The rival has the best mean of the other contenders, the cheaper one the least state of those that are nearly as good. Their
    `mean` is the pick's less the difference on shared seeds, so that both are of the same seeds. `low` and `high` are None
    with too few seeds for an interval; `state` is in bytes.
    """

    role: Literal["pick", "rival", "cheaper"]
    mean: Real | None
    ahead: Real | None
    low: Real | None
    high: Real | None
    seeds: Count
    seconds_per_step: Amount
    state: Count


@dataclass(frozen=True, kw_only=True)
class Cheaper(Named):
    """A candidate with less state: an upper bound on how far it is behind the best, and its state relative to the pick's."""

    at_most: Real
    state: Real


@dataclass(frozen=True, kw_only=True)
class Longer(Named):
    """The rival with the best mean in longer runs: how far the pick is ahead of it there, with a 95 % interval.

    `ahead` is None if a run collapsed, `low` and `high` also with too few seeds.
    """

    steps: Steps
    seeds: Count
    ahead: Real | None
    low: Real | None = None
    high: Real | None = None

    @property
    def order(self) -> Literal["ahead", "behind", "undecided"]:
        """Whether the pick is ahead of the rival, if that is more than chance."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "undecided"
        return "ahead" if self.low > 0 else "behind"


@dataclass(frozen=True, kw_only=True)
class Better(Named):
    """A rate next to the pick's that did better, by its mean on `seeds` shared seeds, when no time was left to race it."""

    ahead: Real
    seeds: Count


@dataclass(frozen=True, kw_only=True)
class Screened(Named):
    """The next best of screening where nothing but the pick has full runs: how far the pick was ahead, on `seeds` seeds."""

    ahead: Real
    seeds: Count


@dataclass(frozen=True, kw_only=True)
class Cliff:
    """The next higher rate, at which runs fail: how much worse than the pick it is, None if no shared run of it is left.

    `collapsed` counts its collapsed runs.
    """

    lr: Positive
    worse: Real | None
    collapsed: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class Remaining:
    """The runs, and seconds, that the race likely still needs to reach its margin; no upper end if it is too uncertain."""

    least: Count
    most: Count | None
    seconds_least: Amount
    seconds_most: Amount | None


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """How many runs of the pick collapsed, and an upper limit of the collapse rate."""

    seen: Count
    of: Count
    at_most: Real | None


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds not used for any choice, on "test" or "validation" data.

    `se` is its standard error over seeds, `half` the half-width of a 95 % interval, on test data over `examples` too. `worse`
    is how much worse it is than on validation data, if that is more than chance. `lost` runs have no value.
    """

    mean: Real
    se: Real | None
    n: Count
    split: Name = "test"
    half: Real | None = None
    examples: Count = 0
    worse: Real | None = None
    lost: Count = 0


@dataclass(frozen=True, kw_only=True)
class AxisRange:
    """The values tried on one axis, and whether the pick is at their edge.

    Values from `low` to `high` cost at most `cost_under` against the pick; None if no such range is known.
    """

    name: Name
    low: Real | None = None
    high: Real | None = None
    cost_under: Real | None = None
    edge: bool
    tried: list[Scalar] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The rank correlation between runs of half the steps and of all, with a 95 % interval, over `n` candidates with both."""

    correlation: Real | None
    low: Real | None
    high: Real | None
    n: Count


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The expected best value of so many random trials of an optimizer, on one seed each, with a 95 % band."""

    name: Name
    trials: Count
    mean: Real
    low: Real
    high: Real


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search: the number of its points, what its best run `claimed`, and the mean of that candidate on `n` seeds of the race.

    `half` is the half-width of a 95 % interval of the mean; both are None if it did not race. `ranked` is None if no run was
    shortened; `expected` is empty unless points were drawn at random.
    """

    points: Count
    claimed: Real
    best: Name
    mean: Real | None = None
    half: Real | None = None
    n: Count = 0
    ranked: Ranked | None = None
    expected: list[Expected] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Place(Named):
    """A candidate's standing in a race, with bounds on how far it is behind the best; None if there is no upper bound."""

    standing: Literal["pick", "possible", "ruled out"]
    at_least: Real
    at_most: Real | None
    n: Count
    mean: Real | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """The state of a race at one look, after `runs` runs and `seconds` of training."""

    runs: Count
    seconds: Amount
    pick: Name
    bound: Amount | None
    seeds: dict[str, Count]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to pick, and how far behind the best it could be. Bounds are in the metric's units, None if there is none.

    `bound` is how much better than the pick any other of the `compared` could be, with `confidence`, on these validation
    examples; `bound_new_data` on new ones. `possible` candidates may still be the best; `rejected` ones diverged or collapsed;
    `not_followed` ones were dropped in screening. `limit` says what limits the answer: "margin", "time" or "examples".
    `rows` are the pick and what is beside it, `cliff` is the next higher rate if it fails, `better` a rate next to the pick's
    that did better and was not raced, `remaining` the runs to the margin. `figure` is the pick's mean on fresh seeds. `second`
    is the next best of screening, if the pick has no rival; `unraced` are the labels for which there was no time to race.
    `fidelity` is the share of a full run after which the pick was compared, `screened` that after which it was screened.
    `repeats`: whether two runs with one seed agree, None if not tested. `typed`: whether the user typed all rates. `lost` says
    why no run has a value. The answer in words: `sentence`, then the few `lines` that most need to be known, then all
    `details`.
    """

    pick: Named | None
    hyper: dict[str, Setting]
    bound: Real | None
    bound_new_data: Real | None
    confidence: Real
    compared: Count
    possible: list[Possible]
    ruled_out: list[Named]
    rejected: list[Rejected]
    not_followed: Count
    limit: Name
    margin: Amount | None
    seconds_to_margin: Real | None
    collapse: Collapse
    beside: list[Measured]
    figure: Mean | None
    question: Count
    raced: bool
    unit: Name
    steps: Steps
    places: list[Place]
    looks: list[Look]
    sentence: Words = ""
    lines: list[Words] = field(default_factory=list)
    details: list[Words] = field(default_factory=list)
    rows: list[Against] = field(default_factory=list)
    better: Better | None = None
    second: Screened | None = None
    unraced: list[Name] = field(default_factory=list)
    cliff: Cliff | None = None
    remaining: Remaining | None = None
    fidelity: Real | None = None
    screened: Real | None = None
    repeats: bool | None = None
    axes: list[AxisRange] = field(default_factory=list)
    cheaper: Cheaper | None = None
    longer: Longer | None = None
    saturated: bool = False
    examples: Count = 0
    typed: bool = False
    lost: Words = ""
    searched: Searched | None = None

    @property
    def edge(self) -> bool:
        """Whether the pick's rate is the lowest or highest tried."""
        return bool(self.axes) and self.axes[0].edge

    @property
    def is_short(self) -> bool:
        """Whether the pick was compared only in shortened runs."""
        return self.fidelity is not None and self.fidelity < 1

    def __str__(self) -> str:
        return "\n".join([self.sentence, *self.lines])

    @property
    def rival(self) -> Against | None:
        """The contender with the best mean after the pick."""
        return next((row for row in self.rows if row.role == "rival"), None)

    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON."""
        pick, figure = self.pick, self.figure
        hidden = ("split", *(() if figure and figure.worse is not None else ("worse",)))
        shown = figure and explained(plain(figure, *hidden), "one run has no standard error; equal seeds chose the pick")
        data: dict[str, Any] = {
            "optimizer": pick and pick.name,
            "schedule": pick and pick.schedule,
            "lr": pick and pick.lr,
            "possible": [explained(_row(one, "ahead_at_most", "is_close"), "too few shared seeds") for one in self.possible],
            "ruled_out": [one.as_json() for one in self.ruled_out],
            "rejected": [_row(one, "collapsed", "of") for one in self.rejected],
            "collapse": explained(plain(self.collapse), "no run"),
            "rows": [explained(_row(row, *AGAINST), "under five shared seeds: no interval") for row in self.rows],
            "cheaper": self.cheaper and _row(self.cheaper, "at_most", "state"),
            "longer": self.longer
            and explained(
                _row(self.longer, "steps", "seeds", "ahead", "low", "high", "order"),
                "a run collapsed, or there are too few for an interval",
            ),
            "cliff": self.cliff and explained(plain(self.cliff), "no seed on which neither run collapsed"),
            "better": self.better and _row(self.better, "ahead", "seeds"),
            "second": self.second and _row(self.second, "ahead", "seeds"),
            "remaining": self.remaining and explained(plain(self.remaining), "too uncertain for an upper end"),
            "beside": [{"measure": one.measure} | _row(one, "value", "pick") for one in self.beside],
            "test": shown if figure and figure.split == "test" else None,
            "fresh": shown if figure and figure.split != "test" else None,
            "axes": [explained(plain(axis, "tried"), UNKNOWN_COST) for axis in self.axes],
            "search": self.searched and _search(self.searched),
        }
        kept = {name: getattr(self, name) for name in ANSWERED}
        return data | kept | ({"status": "; ".join(whys)} if (whys := self._whys()) else {})

    def _whys(self) -> list[str]:
        """Why parts of the answer are missing."""
        whys = []
        if self.pick is None:
            whys.append(self.sentence)
        elif self.compared < 2:
            whys.append("nothing to compare the pick with: no bound")
        elif self.bound is None:
            whys.append("under five shared seeds without a collapsed run: no bound")
        elif self.bound_new_data is None and not self.raced:
            whys.append("no bound on new examples: equal seeds are compared on test data")
        elif self.bound_new_data is None:
            whys.append("no bound on new examples: the measure has no value for single examples or resamples of them")
        if self.repeats is None:
            whys.append("whether runs repeat at one seed was not tried: that would take over 3 % of the budget")
        return whys


def _search(searched: Searched) -> dict[str, Any]:
    ranked = searched.ranked and explained(plain(searched.ranked), "too few candidates, or all alike")
    return plain(searched, "ranked", "expected") | {
        "rank_correlation": ranked,
        "expected_best": [plain(row) for row in searched.expected],
    }


UNKNOWN_COST = "too few seeds of the values next to the pick's, or they cost over two margins"
AGAINST = "role", "mean", "ahead", "low", "high", "seeds", "seconds_per_step", "state"
ANSWERED = (  # fields of an answer that go into JSON unchanged
    "hyper",
    "bound",
    "bound_new_data",
    "confidence",
    "compared",
    "not_followed",
    "unraced",
    "limit",
    "margin",
    "seconds_to_margin",
    "fidelity",
    "repeats",
    "saturated",
    "question",
    "sentence",
    "lines",
    "details",
)


def _row(one: Named, *names: str) -> dict[str, Any]:
    return one.as_json() | {name: getattr(one, name) for name in names}
