# Written by .ci/stubs.py: `make export`
from .recording import Recording
from .steps import Steps
from torch import Tensor, nn
from typing import Any

__all__ = ['WHEN_STARTED', 'watch', 'check_arguments', 'Plan']

class watch(Steps):
    model: Any
    parts: Any
    modules: dict
    given: list | None
    mesh: Any
    lenses: list
    every: Any
    grads: bool
    all: bool
    on_train: bool
    on_valid: bool
    params: Any
    rec: Recording
    handles: list[Any]
    dry: bool
    calls: tuple[Any, set]
    begun: bool
    begun_valid: bool
    n_valid: int
    valid: tuple[Any, int]
    dims: dict[Any, Any]
    ways: dict[Any, Any]
    ref: Any
    fused: list[Any]
    hidden: bool
    inside_fused: set
    def __init__(self, model: Any, optimizer: object='auto', *, modules: Any=None, every: int=1, grads: bool=False, params: bool | None=None, bins: Any=None, sample: int | None=None, max_rows: int=1024, recent: int=64, outputs: str='first', on_train: bool=True, on_valid: bool=False, total_steps: int | None=None, first_step: int=0, mesh: Any=None, lenses: tuple[()]=...) -> None: ...
    def __enter__(self) -> Recording: ...
    def __exit__(self, kind: Any, error: Any=None, trace: Any=None) -> None: ...
    def start(self) -> Recording: ...
    def hook(self, name: str, m: nn.Module, probe: Any) -> list: ...
    def stop(self, tell: bool=True) -> None: ...
    def saw_grad(self, g: Any, key: Any, dim: Any, step: Any, part: Any=None) -> None: ...
    def due(self, every: int=1) -> bool: ...
    def see(self, name: str, kind: str, x: Tensor, dim: int | None=None) -> None: ...
    def plan(self) -> Plan: ...

def check_arguments(arguments: dict) -> None: ...
WHEN_STARTED: list[Any]

class Plan:
    rows: list
    max_rows: int
    def __init__(self, rows: list, max_rows: int) -> None: ...
    def to_df(self) -> Any: ...
    def __repr__(self) -> str: ...
