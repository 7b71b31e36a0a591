# Written by .ci/stubs.py: `make export`
import numpy as np
from .ailments import Chart
from .symptoms import Case, Series
from dataclasses import dataclass
from typing import Any

__all__ = ['FROM', 'WINDOW', 'SIGNS', 'LATE', 'LATE_RULES', 'Past', 'residuals', 'excursions', 'Sign', 'Rise', 'rises']
FROM: int
WINDOW: int

class Past:
    case: Case
    full: Case | None
    step: Any
    n: int
    late: Any
    per: int
    whole: bool
    def __init__(self, c: Case, full: Case | None=None) -> None: ...
    def place(self, step: np.ndarray, y: np.ndarray) -> np.ndarray: ...
    def of(self, s: Series | None, what: str) -> np.ndarray: ...
    def grid(self, names: list, kind: str, what: str) -> np.ndarray: ...

def residuals(x: np.ndarray, floor: float) -> np.ndarray: ...

def excursions(r: np.ndarray, high: float=12.0) -> list: ...

@dataclass
class Sign:
    rule: str
    row: int
    layer: str
    sure: bool
    sentence: str
    advice: str
    remedy: str
    evidence: dict
    chart: Chart | None = ...
    vague: int = ...
SIGNS: list[Any]

@dataclass
class Rise:
    row: int
    seen: int
    before: float
    first: float
    now: float
    gone: float
    deviations: float
    sudden: bool

def rises(p: Past) -> list: ...
LATE: dict
LATE_RULES: dict[Any, Any]
