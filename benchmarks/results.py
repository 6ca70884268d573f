"""From raw rounds to figures, ratios and verdicts; and the JSON file that holds all of them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.rows import SELF, Row, Target

Round = Mapping[str, Any]
"""The figures of a run; or `error`, with the reason."""
Rounds = dict[str, list[Round]]
"""The rounds, by peer."""


@dataclass(frozen=True)
class Verdict:
    """The result of a target."""

    target: Target
    peer: str
    reached: float
    """The median of the rounds, or their worst if the limit is 0; NaN if a server has no figure."""
    good: bool

    def __str__(self) -> str:
        sign, target = "≤" if self.target.at_most else "≥", self.target
        value = "not measured" if math.isnan(self.reached) else f"{self.reached:.3g}"
        whose = f" × {PEERS[target.against].label}" if target.against in PEERS else " ×" if target.against else ""
        return f"{target.name} {value}{whose} ({sign} {target.limit:g})"


@dataclass
class Result:
    """The results of a row."""

    row: Row
    rounds: Rounds
    verdicts: list[Verdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.verdicts = [
            Verdict(target, peer, reached, not math.isnan(reached) and _meets(target, reached))
            for target in self.row.targets
            for peer in target.of
            if self.rounds.get(peer)
            for reached in [_reached(target, peer, self.rounds)]
        ]

    def figure(self, peer: str, key: str) -> float:
        """Returns the median of the rounds for the figure `key` of a `peer`; NaN if there is none."""
        return _median([r.get(key, math.nan) for r in self.rounds.get(peer, ()) if "error" not in r])

    def open(self, verdict: Verdict) -> bool:
        """Whether the target of the `verdict` cannot be judged, since the other server is not in this run."""
        return verdict.target.against in PEERS and verdict.target.against not in self.rounds

    def failures(self, peer: str) -> list[str]:
        """Returns the errors of the `peer`'s rounds."""
        return [r["error"] for r in self.rounds.get(peer, ()) if "error" in r]

    def disturbed(self) -> float:
        """The share of a core that other processes used, in the worst round."""
        return max((r.get("others", 0.0) for rounds in self.rounds.values() for r in rounds), default=0.0)

    def reached(self, verdict: Verdict) -> bool:
        """Whether the target of the `verdict` is reached, or another one of its group."""
        group, peer = verdict.target.group, verdict.peer
        return any(
            v.good for v in self.verdicts if v is verdict or (group and (v.target.group, v.peer) == (group, peer))
        )

    @property
    def missed(self) -> list[Verdict]:
        """The verdicts on targets that could be judged and were not reached."""
        return [verdict for verdict in self.verdicts if not (self.reached(verdict) or self.open(verdict))]


def _reached(target: Target, peer: str, rounds: Rounds) -> float:
    if not target.against:
        values = [r.get(target.figure, math.nan) for r in rounds[peer]]
        if target.limit == 0:  # it must never happen, and the median could hide a round in which it did
            return math.nan if any(map(math.isnan, values)) else max(values)
        return _median(values)
    against = peer if target.against == SELF else target.against
    pairs = zip(rounds[peer], rounds.get(against, []), strict=False)
    return _median([_ratio(ours, target.figure, theirs, target.other or target.figure) for ours, theirs in pairs])


def _ratio(ours: Round, figure: str, theirs: Round, other: str) -> float:
    value, base = ours.get(figure, math.nan), theirs.get(other, math.nan)
    return value / base if base else math.nan


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _meets(target: Target, reached: float) -> bool:
    return reached <= target.limit if target.at_most else reached >= target.limit


def write(path: Path, about: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Writes everything to `path` as JSON: the facts `about` the run, and `results` with their raw rounds."""
    document = {**about, "rows": [_row(result) for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(document), indent=1, ensure_ascii=False) + "\n")


def _row(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "key": row.key,
        "title": row.title,
        "note": row.note,
        "others_at_most": round(result.disturbed(), 3),
        "peers": {
            name: {
                "label": PEERS[name].label,
                "durable": PEERS[name].durable,
                "figures": {key: result.figure(name, key) for key in _keys(rounds)},
                "rounds": rounds,
            }
            for name, rounds in result.rounds.items()
        },
        "targets": [
            {
                "peer": verdict.peer,
                "text": str(verdict),
                "reached": verdict.reached,
                "limit": verdict.target.limit,
                "good": None if result.open(verdict) else result.reached(verdict),
            }
            for verdict in result.verdicts
        ],
    }


def _keys(rounds: Sequence[Round]) -> list[str]:
    return list(dict.fromkeys(key for r in rounds for key, value in r.items() if isinstance(value, (int, float))))


def _without_nan(value: Any) -> Any:
    """Replaces NaN, which JSON lacks, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
