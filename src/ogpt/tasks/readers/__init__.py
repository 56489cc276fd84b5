"""Readers of the official files of task data sets, one for each kind of file."""
