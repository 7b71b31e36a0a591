# Written by .ci/stubs.py: `make export`

__all__ = []
