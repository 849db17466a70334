"""Prepare data, train a stage, pack weights: ``python -m optical_memory.training --help``."""

from __future__ import annotations

import argparse
from pathlib import Path

from optical_memory.training import config


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands; imports wait, because the machine that trains has no fonts and the other no GPU."""
    parser = argparse.ArgumentParser(prog="optical-memory train", description=__doc__)
    parser.add_argument("--config", type=Path, default=config.DEFAULT)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write text streams, glyph sheets and the manifest")
    prepare.add_argument("out", type=Path)
    prepare.add_argument("roots", type=Path, nargs="+", help="folders with the sources' and fonts' files")
    stage = commands.add_parser("stage", help="train one stage of the config")
    stage.add_argument("name")
    stage.add_argument("data", type=Path)
    stage.add_argument("out", type=Path)
    stage.add_argument("--start", type=Path, help="folder of weights to start from")
    stage.add_argument("--state", type=Path, help="file that keeps the whole state, to go on after an interruption")
    stage.add_argument("--seconds", type=float, help="time to train, instead of the stage's own")
    pack = commands.add_parser("pack", help="round weights to int8 for the package")
    pack.add_argument("weights", type=Path)
    pack.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    settings = config.load(options.config)
    if options.command == "prepare":
        from optical_memory.training.prepare import prepare as write

        write(settings, options.roots, options.out)
    elif options.command == "stage":
        from optical_memory.training.train import Run, train

        run = Run(data=options.data, out=options.out, start=options.start, state=options.state, seconds=options.seconds)
        train(settings, settings.stage(options.name), run)
    else:
        from optical_memory.model.mini import MiniNetwork, weights

        network = MiniNetwork()
        weights.load_plain(network, options.weights)
        weights.save_int8(network, options.out)


if __name__ == "__main__":
    main()
