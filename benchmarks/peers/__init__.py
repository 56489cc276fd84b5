"""The baselines of native decoding; each runs as a process, some in separate environments.

All modules but `environments` and `remote` run inside such a process.
"""
