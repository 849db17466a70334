"""List the benchmarks, or run one: ``python -m benchmarks [NAME [ARGUMENTS]]``."""

from __future__ import annotations

import sys

from benchmarks import catalogue, run


def main(arguments: list[str]) -> int:
    """List all without arguments; run the named one with the rest of the arguments."""
    names = catalogue()
    if not arguments:
        for name, line in names.items():
            print(f"{name:<12} {line}")
        return 0
    name, *rest = arguments
    if name not in names:
        print(f"no benchmark {name!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    run(name, rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
