"""``optical-memory train language``: prepare data, train, score, pack, average."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from optical_memory.training.language import recipe as recipes


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands; imports wait, because the machine that trains needs no browser."""
    parser = argparse.ArgumentParser(prog="optical-memory train language", description=__doc__)
    parser.add_argument("--recipe", type=Path, help="recipe file; by default the bundled one")
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write text, names, letters, token weights and the manifest")
    prepare.add_argument("out", type=Path)
    prepare.add_argument("roots", type=Path, nargs="+", help="folders with the sources' files")
    train = commands.add_parser("run", help="train the adapter and the updates")
    train.add_argument("data", type=Path)
    train.add_argument("out", type=Path)
    train.add_argument("--seconds", type=float, required=True)
    train.add_argument("--processes", type=int, default=1, help="processes that draw samples, for each GPU")
    train.add_argument("--pooled", action="store_true", help="show averages of true tokens, as the recipe's `pooled`")
    train.add_argument("--keep", type=int, help="a step whose weights are kept, too")
    train.add_argument("--steps", type=int, help="end after so many steps, if the time is not over before")
    told = commands.add_parser("passages", help="let the language model write passages for the pages")
    told.add_argument("data", type=Path)
    told.add_argument("--count", type=int, default=1000, help="passages that are tried")
    told.add_argument("--rows", type=int, default=1024, help="texts that are written at once")
    told.add_argument("--device", default="cpu")
    score = commands.add_parser("score", help="score weights on held-out pages")
    score.add_argument("data", type=Path)
    score.add_argument("out", type=Path)
    for each in (train, score):
        each.add_argument("--from", dest="start", type=Path, help="a run's language.pt, or a folder of packed weights")
        each.add_argument("--evaluated", type=int, default=2, help="batches that are scored, on each GPU")
    train.add_argument("--batches", type=int, nargs="*", default=(), help="samples of each GPU, where they differ")
    pack = commands.add_parser("pack", help="round weights to int8 for the package")
    pack.add_argument("weights", type=Path, help="language.pt of a run")
    pack.add_argument("out", type=Path)
    mean = commands.add_parser("mean", help="write the mean of packed weights, of runs that began alike")
    mean.add_argument("out", type=Path)
    mean.add_argument("folders", type=Path, nargs="+", help="folders of packed weights")
    options = parser.parse_args(arguments)
    recipe = recipes.load(options.recipe)
    if options.command == "prepare":
        from optical_memory.model.language import base
        from optical_memory.training.language.prepare import prepare as write

        write(recipe, options.roots, options.out, base.load(recipe.model).tokenizer.inner)
    elif options.command == "passages":
        _passages(recipe, options)
    elif options.command == "run":
        from optical_memory.training.language.train import train as go

        run = recipes.Run(
            data=options.data,
            out=options.out,
            seconds=options.seconds,
            processes=options.processes,
            start=options.start,
            steps=options.steps,
            keep=options.keep,
            evaluated=options.evaluated,
            batches=tuple(options.batches),
        )
        go(dataclasses.replace(recipe, pooled=True, teach=0.0) if options.pooled else recipe, run)
    elif options.command == "score":
        from optical_memory.training.language.train import score as write_scores

        run = recipes.Run(
            data=options.data, out=options.out, seconds=0.0, start=options.start, evaluated=options.evaluated
        )
        write_scores(recipe, run)
    elif options.command == "mean":
        from optical_memory.training.language.pack import mean as write_mean

        write_mean(options.folders, options.out)
    else:
        from optical_memory.training.language.pack import pack as write_int8

        write_int8(recipe, options.weights, options.out)


def _passages(recipe: recipes.Recipe, options: argparse.Namespace) -> None:
    import random

    import torch

    from optical_memory.model.language import base
    from optical_memory.training.language import passages
    from optical_memory.training.language.values import Values

    language = base.load(recipe.model)
    kind = torch.float32 if options.device == "cpu" else torch.bfloat16
    llama = language.model.to(options.device, kind)
    writer = passages.Writer(llama, language.tokenizer, rows=options.rows, seed=recipe.seed)
    values = Values(random.Random(recipe.seed), options.data / "pools.json")
    made = passages.told(writer, values, options.count)
    passages.keep(made, options.data)
    print(f"{len(made)} passages")


if __name__ == "__main__":
    main()
