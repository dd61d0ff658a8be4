"""`python -m mixunlearn_hf`, and `accelerate launch -m mixunlearn_hf`: the command line."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
