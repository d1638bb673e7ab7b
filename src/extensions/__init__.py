"""Compiled code; each has a plain form in Python, which takes its place where it is not built."""
