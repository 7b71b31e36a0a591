# Written by .ci/stubs.py: `make export`
from .names import Parts
from dataclasses import dataclass
from torch import Tensor
from typing import Any

__all__ = ['ROLES', 'usual_role', 'rank_and_world', 'restart', 'agreed_run', 'Ranks', 'Share', 'shares', 'ranks_text', 'whose']
ROLES: tuple[str, ...]

def usual_role(kind: str) -> str: ...

def rank_and_world() -> tuple: ...

def restart() -> int: ...

def agreed_run() -> str: ...

class Ranks:
    rank: Any
    world: Any
    dims: dict[Any, Any]
    purpose: dict[Any, Any]
    flat: dict[Any, Any]
    placed: set
    fsdp: set
    def __init__(self, parts: Parts, mesh: Any=None) -> None: ...
    def about(self) -> dict: ...
    def names(self, mesh: Any, purpose: str | None=None) -> list: ...
    @property
    def is_last(self) -> bool: ...
    def layout(self, name: str, kind: str, x: Tensor, dim: int | None=None, like: dict | None=None) -> dict: ...

@dataclass(frozen=True)
class Share:
    part: tuple
    group: tuple
    @property
    def taken(self) -> int: ...

def shares(kind: str, held: dict) -> dict: ...

def ranks_text(ranks: Any) -> str: ...

def whose(meta: dict) -> str: ...
