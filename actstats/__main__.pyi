# Written by .ci/stubs.py: `make export`
