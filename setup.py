"""All that pyproject.toml cannot say; compiled extensions are declared here."""

from setuptools import setup

setup()
