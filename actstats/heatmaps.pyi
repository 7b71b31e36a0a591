# Written by .ci/stubs.py: `make export`
import numpy as np
from .bins import LinearBins
from .history import History
from dataclasses import dataclass
from typing import Any

__all__ = ['SCALES', 'window', 'view', 'Heat', 'heat']

def window(h: History, n: int=60, q: float=0.001) -> LinearBins: ...

def view(h: History, bins: Any=None, absolute: bool=False) -> tuple: ...

@dataclass
class Heat:
    counts: np.ndarray
    edges: np.ndarray
    at: np.ndarray
    outside: tuple
    ticks: list | None = ...
    @property
    def lost(self) -> float: ...
    def place(self, v: np.ndarray) -> np.ndarray: ...
SCALES: tuple[str, str]

def heat(h: History, bins: Any=None, absolute: bool=False, scale: str | None=None) -> Heat: ...
