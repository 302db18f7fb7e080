"""`python -m twofa`: the operator's command line."""

import sys

from twofa.cli import main

if __name__ == "__main__":
    sys.exit(main())
