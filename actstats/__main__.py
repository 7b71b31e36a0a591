"The command `actstats`, as `python -m actstats`"
from actstats.cli import main

raise SystemExit(main())
