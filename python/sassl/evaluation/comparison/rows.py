"""Rows of a comparison: the arms' means over checkpoints, and the differences between them.

The evaluation draws of a checkpoint are averaged first, so that n counts training runs and not evaluation draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TypeVar

from .intervals import Difference, paired, unpaired
from .lines import METRICS, ROBUSTNESS, Measurement, Metric, Value

Key = TypeVar("Key", int, str)
#: The values of each arm, by the arm's name.
Arms = Mapping[str, Sequence[Value]]


@dataclass(frozen=True)
class Summary:
    """The results of an arm for a measurement.

    Attributes:
        mean: mean over checkpoints.
        sd: standard deviation over checkpoints (divided by n - 1); None for a single checkpoint.
        n: number of checkpoints.
        draws: the smallest and the largest number of evaluation draws averaged for a checkpoint.
    """

    mean: float
    sd: float | None
    n: int
    draws: tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A measurement, or the mean of the measurements of a protocol over sets.

    Attributes:
        measurement: the set, the school (the way in which the set is split), the protocol and the metric.
        metric: how values of the metric are shown.
        sets: number of sets that are averaged; 1 for a measurement.
        arms: summaries by arm; None if an arm does not have the measurement.
        differences: by arm, the difference from the reference; the reference itself has no entry. None if the arm or the
            reference does not have the measurement.
        partial: the arms whose difference is over fewer values than the means, because some values have no pair.
    """

    measurement: Measurement
    metric: Metric
    sets: int
    arms: dict[str, Summary | None]
    differences: dict[str, Difference | None]
    partial: frozenset[str]

    def best(self) -> set[str]:
        """Return the arms with the best mean, after rounding as shown.

        The set is empty if:

        - there are fewer than two different means;
        - neither direction of the metric is better;
        - some difference is over fewer values than the means, see `partial`.
        """
        shown = {arm: round(one.mean, self.metric.digits) for arm, one in self.arms.items() if one is not None}
        if self.metric.higher is None or self.partial or len(set(shown.values())) < 2:
            return set()
        best = (max if self.metric.higher else min)(shown.values())
        return {arm for arm, mean in shown.items() if mean == best}


@dataclass(frozen=True)
class _Samples:
    """The values from which a row is computed. Each is a mean over evaluation draws.

    Attributes:
        means: means by arm and checkpoint.
        draws: the number of evaluation draws in each of `means`.
        pairs: for each arm but the reference, the differences from the reference, by pretraining seed.
        partial: arms for which some value has no pair: one of the arm's values, or one of the reference's.
    """

    means: dict[str, dict[str, float]] = field(default_factory=dict)
    draws: dict[str, dict[str, int]] = field(default_factory=dict)
    pairs: dict[str, dict[int, float]] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, arms: Arms, reference: str) -> _Samples:
        """Collect the samples of a measurement."""
        found = cls()
        for arm, values in arms.items():
            drawn: dict[str, list[float]] = {}
            for one in values:
                if one.value is not None:
                    drawn.setdefault(one.checkpoint, []).append(one.value)
            found.means[arm] = {checkpoint: fmean(own) for checkpoint, own in drawn.items()}
            found.draws[arm] = {checkpoint: len(own) for checkpoint, own in drawn.items()}
        theirs = _by_seeds(arms[reference])
        for arm in arms:
            if arm != reference:
                ours, differences = _by_seeds(arms[arm]), dict[int, list[float]]()
                for key in ours.keys() & theirs.keys():
                    differences.setdefault(key[0], []).append(ours[key] - theirs[key])
                if ours.keys() != theirs.keys():
                    found.partial.add(arm)
                found.pairs[arm] = {seed: fmean(differences[seed]) for seed in sorted(differences)}
        return found

    @classmethod
    def mean(cls, sets: Sequence[Sequence[_Samples]]) -> _Samples:
        """Average over schools, then over sets; checkpoints and pairs that lack a school or a set are left out."""
        first = sets[0][0]
        means = {arm: _mean([[one.means[arm] for one in schools] for schools in sets]) for arm in first.means}
        pairs = {arm: _mean([[one.pairs[arm] for one in schools] for schools in sets]) for arm in first.pairs}
        draws = {arm: dict.fromkeys(own, 1) for arm, own in means.items()}
        return cls(means, draws, pairs, set().union(*(one.partial for schools in sets for one in schools)))

    def summary(self, arm: str) -> Summary | None:
        values, draws = [*self.means[arm].values()], self.draws[arm].values()
        if not values:
            return None
        sd = stdev(values) if len(values) > 1 else None
        return Summary(fmean(values), sd, len(values), (min(draws), max(draws)))

    def difference(self, arm: str, reference: str) -> Difference | None:
        ours, theirs, pairs = self.means[arm], self.means[reference], self.pairs[arm]
        if not ours or not theirs:
            return None
        # A single pair among several checkpoints is less informative than all of them.
        if len(pairs) > 1 or len(pairs) == len(ours) == len(theirs):
            return paired([*pairs.values()])
        return unpaired([*ours.values()], [*theirs.values()])

    def row(self, measurement: Measurement, metric: Metric, sets: int, reference: str) -> Row:
        differences = {arm: self.difference(arm, reference) for arm in self.pairs}
        partial = {arm for arm, one in differences.items() if one is not None and one.is_paired} & self.partial
        arms = {arm: self.summary(arm) for arm in self.means}
        return Row(measurement, metric, sets, arms, differences, frozenset(partial))


def rows_of(arms: Arms, reference: str) -> tuple[list[Row], list[str]]:
    """Return the rows of a comparison, and notes on them.

    Rows are grouped by protocol. Within a protocol, rows are in the order of their first results.
    """
    values: dict[Measurement, dict[str, list[Value]]] = {}
    for arm, own in arms.items():
        for one in own:
            values.setdefault(one.measurement, {arm: [] for arm in arms})[arm].append(one)
    rows, notes = list[Row](), list[str]()
    for protocol in dict.fromkeys(measurement.protocol for measurement in values):
        found = {key: _Samples.of(own, reference) for key, own in values.items() if key.protocol == protocol}
        rows += [one.row(key, METRICS[key.metric], 1, reference) for key, one in found.items()]
        mean, said = _mean_row(protocol, found, reference)
        rows += mean
        notes += said
    for row in rows:
        if row.partial:
            told = " and ".join(sorted(row.partial))
            notes.append(
                f"{row.measurement}: the difference of {told} is over pairs only, the means over all checkpoints and draws."
            )
    return rows, notes


def _mean_row(protocol: str, found: Mapping[Measurement, _Samples], reference: str) -> tuple[list[Row], list[str]]:
    """Return a row with the mean over transfer sets, and notes on what the mean leaves out.

    The mean is over the sets that all arms have, of metrics in per cent. With fewer than two such sets, there is no row.
    """
    shares = {key: one for key, one in found.items() if METRICS[key.metric].is_share and protocol != ROBUSTNESS}
    common = {key: one for key, one in shares.items() if all(one.means.values())}
    sets: dict[str, list[_Samples]] = {}
    for key, one in common.items():
        sets.setdefault(key.set, []).append(one)
    if len(sets) < 2:
        return [], []
    mean = _Samples.mean([*sets.values()])
    row = mean.row(Measurement("mean", "", protocol, ""), Metric(""), len(sets), reference)
    notes = []
    if others := [str(key) for key in found if key not in shares]:
        notes.append(f"Not in the mean, which is of values in per cent: {', '.join(others)}.")
    if others := [str(key) for key in shares if key not in common]:
        notes.append(f"Not in the mean, because not every arm has it: {', '.join(others)}.")
    for arm, kept in mean.means.items():
        known = {checkpoint for one in common.values() for checkpoint in one.means[arm]}
        if len(kept) < len(known):
            notes.append(
                f"Not in the mean of {protocol}, because they lack a set: {len(known) - len(kept)} of {len(known)} checkpoints "
                f"of {arm}."
            )
    return [row], notes


def _by_seeds(values: Iterable[Value]) -> dict[tuple[int, int], float]:
    """Return values by (pretraining seed, evaluation seed).

    Undefined values, and values of unknown pretraining seeds, are left out.
    """
    return {
        (one.pretraining_seed, one.seed): one.value
        for one in values
        if one.pretraining_seed is not None and one.value is not None
    }


def _mean(sets: Sequence[Sequence[Mapping[Key, float]]]) -> dict[Key, float]:
    """Average over schools, then over sets, for each key that all schools of all sets have."""
    keys = [key for key in sets[0][0] if all(key in one for schools in sets for one in schools)]
    return {key: fmean(fmean(one[key] for one in schools) for schools in sets) for key in keys}
