# Written by .ci/stubs.py: `make export`
import numpy as np
from .recording import Recording
from dataclasses import dataclass
from matplotlib.axes import Axes
from pathlib import Path
from typing import Any

__all__ = ['ks', 'Comparison']

def ks(a: np.ndarray, b: np.ndarray) -> np.ndarray: ...

@dataclass
class Comparison:
    a: Recording
    b: Recording
    kind: str
    tol: float
    layers: list
    missing: list
    steps: list
    distance: list
    unequal: list
    n_steps: int = ...
    @property
    def first(self) -> tuple | None: ...
    @property
    def apart(self) -> tuple | None: ...
    def __repr__(self) -> str: ...
    def to_df(self) -> Any: ...
    def table(self) -> tuple: ...
    def plot(self, ax: Axes | None=None) -> Any: ...
    def report(self, path: Any, title: str='Two runs side by side', names: tuple[str, str]=...) -> Path: ...
