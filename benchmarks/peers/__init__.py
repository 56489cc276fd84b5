"""The baselines of native decoding, each run as a process, some in environments of their own.

Every module but `environments` and `remote` runs inside such a process.
"""
