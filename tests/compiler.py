"""Whether extensions can be built here."""

import os
import shutil
import sysconfig
from pathlib import Path

_COMPILER = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"

_HEADER = Path(sysconfig.get_path("include"), "Python.h")

HAS_COMPILER = shutil.which(_COMPILER.split()[0]) is not None and _HEADER.exists()
