# Written by .ci/stubs.py: `make export`
import numpy as np
from .recording import Recording
from .symptoms import Case
from dataclasses import dataclass
from typing import Any

__all__ = ['WHAT', 'QUIET', 'FLOORS', 'LEAST', 'TIMES', 'BACK', 'FROM', 'NEAR', 'SHARED', 'GAP', 'LISTED', 'NUMBERED', 'COLUMNS', 'Event', 'Departures', 'in_words', 'Story']
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
NEAR: Any
SHARED: int

class Departures:
    case: Case
    place: dict
    at_first: float | None
    steps: np.ndarray
    keys: list[Any]
    z: np.ndarray
    why: np.ndarray
    bar: np.ndarray
    def __init__(self, c: Case, at_first: float | None=None) -> None: ...
GAP: int
LISTED: int

def in_words(events: list) -> list: ...

class Story:
    departures: Any
    events: Any
    case: Any
    def __init__(self, rec: Recording) -> None: ...
    def plot(self, steps: tuple | None=None, most: int=30, axs: Any=None, words: bool=True) -> Any: ...
NUMBERED: int
COLUMNS: int
