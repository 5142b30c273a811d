"""`python -m designspace`; torchrun starts it as `torchrun … -m designspace train …`."""

import sys

from designspace.cli import main

if __name__ == "__main__":
    sys.exit(main())
