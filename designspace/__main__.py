"""`python -m designspace`, which torchrun starts as `torchrun … -m designspace train …`."""

import sys

from designspace.cli import main

if __name__ == "__main__":
    sys.exit(main())
