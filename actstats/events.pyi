# Written by .ci/stubs.py: `make export`
import numpy as np
from .symptoms import Case
from dataclasses import dataclass
from typing import Any

__all__ = ['WHAT', 'QUIET', 'FLOORS', 'LEAST', 'TIMES', 'BACK', 'FROM', 'GAP', 'LISTED', 'Event', 'Departures']
WHAT: dict[Any, Any]

@dataclass(frozen=True)
class Event:
    step: int
    layer: str
    kind: str
    what: str
    size: float
    text: str = ...
    batch: float | None = ...
    width: int = ...
    def __str__(self) -> str: ...
QUIET: int
FLOORS: dict
LEAST: float
TIMES: float
BACK: int
FROM: int

class Departures:
    case: Case
    place: dict
    steps: Any
    keys: list[Any]
    z: np.ndarray
    why: np.ndarray
    bar: np.ndarray
    def __init__(self, c: Case) -> None: ...
GAP: int
LISTED: int
