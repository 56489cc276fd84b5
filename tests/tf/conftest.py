"""TensorFlow's tests are collected where it is installed: in the environment of `make test-tf`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("tensorflow") else ["test_*.py"]
