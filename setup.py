"""All that pyproject.toml cannot say: the compiled extension, left out where no compiler is found."""

from setuptools import setup

setup(cffi_modules=["src/extensions/AE/build.py:builder"])
