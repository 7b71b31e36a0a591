"`python -m actstats` is the command `actstats`. Written by hand."
import sys

from actstats.cli import main

if __name__ == '__main__': sys.exit(main())
