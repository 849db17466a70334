"""Print constraints that hold the packages of an extra to the lowest versions that pyproject.toml allows.

python scripts/lowest.py langchain
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
for requirement in project["optional-dependencies"][sys.argv[1]]:
    print(requirement.replace(">=", "=="))
