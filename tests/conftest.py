"""Environment of all tests."""

import os

# Small models: threads cost more than they bring, and several processes share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
