# Written by .ci/stubs.py: `make export`
from pathlib import Path

__all__ = ['demo', 'main']

def demo(data: str='digits', out: str='actstats-report.html', lr: float=0.6, epochs: int | None=None, seed: int=0) -> Path: ...

def main(argv: list | None=None) -> int: ...
