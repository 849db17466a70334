"""Prepare data, train a stage, pack weights: ``python -m optical_memory.training --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from optical_memory.training import config


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands; imports wait, because the machine that trains has no fonts and the other no GPU.

    ``language …`` trains a language model's adapter: see :mod:`optical_memory.training.language`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["language"]:
        from optical_memory.training.language import __main__ as language

        language.main(arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog="optical-memory train", description=__doc__, epilog="`language`: an adapter for a language model."
    )
    parser.add_argument("--config", type=Path, default=config.DEFAULT)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write text streams, glyph sheets and the manifest")
    prepare.add_argument("out", type=Path)
    prepare.add_argument("roots", type=Path, nargs="+", help="folders with the sources' and fonts' files")
    stage = commands.add_parser("stage", help="train one stage of the config")
    stage.add_argument("name")
    stage.add_argument("data", type=Path)
    stage.add_argument("out", type=Path)
    stage.add_argument("--from", dest="start", type=Path, help="folder of weights to start from")
    stage.add_argument("--state", type=Path, help="file that keeps the whole state, to go on after an interruption")
    stage.add_argument("--seconds", type=float, help="time to train, instead of the stage's own")
    stage.add_argument("--decoder", action="store_true", help="train a new decoder beside the encoder")
    decode = commands.add_parser("decoder", help="train the decoder on the tokens of a trained encoder")
    decode.add_argument("data", type=Path)
    decode.add_argument("encoder", type=Path, help="folder of the encoder's weights")
    decode.add_argument("out", type=Path)
    decode.add_argument("--from", dest="start", type=Path, help="folder of a decoder's weights to start from")
    decode.add_argument("--seconds", type=float, help="time to train, instead of the config's own")
    retouch = commands.add_parser("retouch", help="train the head alone on a CPU, after glyphs were redrawn")
    retouch.add_argument("name")
    retouch.add_argument("data", type=Path)
    retouch.add_argument("start", type=Path)
    retouch.add_argument("out", type=Path)
    retouch.add_argument("--groups", type=int, default=160)
    retouch.add_argument("--steps", type=int, default=300)
    fine = commands.add_parser("fine", help="train the second head, for the cells of Small and Tiny, on a CPU")
    fine.add_argument("out", type=Path)
    fine.add_argument("roots", type=Path, nargs="+", help="folders with prose (Markdown, reST) and code for sessions")
    fine.add_argument("--sessions", type=int, default=320)
    fine.add_argument("--seconds", type=float, default=270)
    plot = commands.add_parser("plot", help="draw the losses and scores of training logs, one stage after the other")
    plot.add_argument("out", type=Path)
    plot.add_argument("logs", type=Path, nargs="+")
    pack = commands.add_parser("pack", help="round weights to int8 for the package")
    pack.add_argument("weights", type=Path)
    pack.add_argument("out", type=Path)
    pack.add_argument("--decoder", type=Path, help="folder of the decoder's weights, to pack beside them")
    options = parser.parse_args(arguments)
    settings = config.load(options.config)
    if options.command == "prepare":
        from optical_memory.training.prepare import prepare as write

        write(settings, options.roots, options.out)
    elif options.command == "stage":
        from optical_memory.training.train import Run, train

        run = Run(
            data=options.data,
            out=options.out,
            start=options.start,
            state=options.state,
            seconds=options.seconds,
            decoder=options.decoder,
        )
        train(settings, settings.stage(options.name), run)
    elif options.command == "decoder":
        from optical_memory.training.decode import train_decoder

        seconds = options.seconds or settings.decoder.seconds
        train_decoder(settings.decoder, options.data, options.encoder, options.out, seconds, options.start)
    elif options.command == "retouch":
        from optical_memory.training.retouch import retouch as touch

        stage_config = settings.stage(options.name)
        touch(
            settings,
            stage_config,
            options.data,
            options.start,
            options.out,
            groups=options.groups,
            steps=options.steps,
        )
    elif options.command == "fine":
        from optical_memory.training.fine.train import train_fine

        train_fine(options.roots, options.out, count=options.sessions, seconds=options.seconds)
    elif options.command == "plot":
        from optical_memory.training.plot import curves

        curves(options.logs, options.out)
    else:
        from optical_memory.model.mini import MiniNetwork, weights

        network = MiniNetwork()
        weights.load_plain(network, options.weights)
        weights.save_int8(network, options.out)
        if options.decoder is not None:
            from optical_memory.training.decode import new_decoder

            decoder = new_decoder(network)
            weights.load_plain(decoder, options.decoder)
            weights.save_int8(decoder, options.out, "decoder")


if __name__ == "__main__":
    main()
