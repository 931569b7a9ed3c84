"""Commands that ask the model: classify, evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from models.classifier import Backend
from models.evaluation import Evaluation, HeadReport, Measures, evaluate
from models.explain import Explanation, explain
from models.labelled import read_labelled
from models.labels import Label, Labels
from models.registry import load_classifier, load_encoder
from pipeline.cli.data import open_input
from pipeline.sources.files import SourceError

TOGETHER = 256
"""Posts given to the model at once."""

MODEL = click.option("--model", default="default", show_default=True, help="`default` or a folder.")
BACKEND = click.option(
    "--backend", type=click.Choice(["onnx", "torch"]), default="onnx", show_default=True,
    help="`onnx`: int8 on the CPU. `torch`: float, on a GPU where there is one.",
)  # fmt: skip


@click.command()
@click.argument("file", default="-")
@MODEL
@BACKEND
@click.option("--explain", "explained", is_flag=True,
              help="Show which words moved each label, for reading.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="With --explain: one JSON object a line.")
def classify(file: str, model: str, backend: Backend, explained: bool, as_json: bool) -> None:
    """Label posts from FILE or standard input; one JSON object a line, in input order.

    A line is a text, or a JSON object with a `text`. A post in a language the model was not made
    for is not judged: it has neutral labels, its `lang`, and says so in `abstained`.
    """
    with ExitStack() as stack:
        texts = _texts(open_input(file, stack), file)
        if explained:
            encoder = load_encoder(model, backend=backend)
            stack.callback(encoder.close)
            for text in texts:
                explanation = explain(encoder, text)
                if as_json:
                    click.echo(msgspec.json.encode(explanation))
                else:
                    _print_explanation(text, explanation)
            return
        classifier = load_classifier(model, backend=backend)
        stack.callback(classifier.close)
        while group := list(islice(texts, TOGETHER)):
            for labels in classifier.classify(group):
                click.echo(msgspec.json.encode(labels))


def _texts(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, raw in enumerate(stream, 1):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.startswith("{"):
            yield line
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise SourceError(
                f"{name}, line {number}: starts like JSON but is no object with a string `text`"
            )
        yield text


def _print_explanation(text: str, explanation: Explanation) -> None:
    console = Console(highlight=False, soft_wrap=True)
    labels = explanation.labels
    console.print(Text(_shown(text), "bold"))
    if labels.abstained is not None:
        console.print(f"  not judged: {labels.abstained} {labels.lang or ''}".rstrip())
    for head, words in explanation.influences.items():
        label: Label = getattr(labels, head)
        line = Text(f"  {head:12}{label.label:15}{label.probabilities[label.label]:.2f}")
        for word in words:
            line.append(f"   {_shown(word.text)}")
            line.append(f" {word.weight:+.2f}", "green" if word.weight > 0 else "red")
        if labels.abstained is None:
            console.print(line)
    console.print()


def _shown(text: str) -> str:
    """Text fit for a terminal: what could steer it is replaced, white space is single."""
    return "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for sign in " ".join(text.split())
    )


@click.command("evaluate")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@MODEL
@BACKEND
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate_(file: Path, model: str, backend: Backend, as_json: bool) -> None:
    """Judge the model on FILE: your own posts, labelled by people.

    FILE is a table (TSV with CSV quoting) with a column `text` and any of sentiment, stage, gap,
    touchpoint, advocacy, suggestion; with `source` the sources are also told apart. A table with
    `label` and `text` holds sentiments, or complaint/other. JSON lines (.jsonl) will do, too.
    """
    posts = read_labelled(file)
    classifier = load_classifier(model, backend=backend)
    try:
        labels: list[Labels] = []
        for at in track(
            range(0, len(posts), TOGETHER),
            f"{len(posts):,} posts",
            console=Console(stderr=True),
            transient=True,
        ):
            labels += classifier.classify([post.text for post in posts[at : at + TOGETHER]])
        evaluation = evaluate(classifier.version, posts, labels)
    finally:
        classifier.close()
    if as_json:
        click.echo(msgspec.json.encode(evaluation))
    else:
        _print_evaluation(evaluation)


def _print_evaluation(evaluation: Evaluation) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)  # a pipe has no width to fit
    told = f"{evaluation.rows:,} posts, model {evaluation.model}"
    for reason, count in sorted(evaluation.abstained.items()):
        told += f"; {count:,} not judged ({reason})"
    console.print(told)
    for head, report in evaluation.heads.items():
        console.print(f"\n[bold]{head}[/]   {_in_short(report.measures)}")
        console.print(_value_table(report))
        console.print(_reliability_table(report))
        if report.sources:
            console.print(_source_table(report))


def _in_short(measures: Measures) -> str:
    return (
        f"{measures.rows:,} posts   accuracy {measures.accuracy:.3f}   "
        f"macro F1 {measures.macro_f1:.3f}   macro recall {measures.macro_recall:.3f}   "
        f"calibration error {measures.calibration_error:.3f}"
    )


def _value_table(report: HeadReport) -> Table:
    values = report.measures.values
    table = _table("value", "precision", "recall", "F1", "posts", *(f"→ {name}" for name in values))
    for found, row in zip(report.values, report.measures.confusion, strict=True):
        shares = (found.precision, found.recall, found.f1)
        table.add_row(
            found.value,
            *("–" if share is None else f"{share:.3f}" for share in shares),
            f"{found.support:,}",
            *(f"{count:,}" for count in row),
        )
    return table


def _reliability_table(report: HeadReport) -> Table:
    table = _table("probability", *(f"≤ {part.upto:.2f}" for part in report.reliability))
    table.add_row("posts", *(f"{part.rows:,}" for part in report.reliability))
    table.add_row("mean", *(f"{part.confidence:.2f}" for part in report.reliability))
    table.add_row("right", *(f"{part.accuracy:.2f}" for part in report.reliability))
    return table


def _source_table(report: HeadReport) -> Table:
    table = _table("source", "posts", "accuracy", "macro F1", "macro recall", "calibration error")
    for source, found in report.sources.items():
        table.add_row(
            Text(_shown(source)),
            f"{found.rows:,}",
            f"{found.accuracy:.3f}",
            f"{found.macro_f1:.3f}",
            f"{found.macro_recall:.3f}",
            f"{found.calibration_error:.3f}",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in others:
        table.add_column(name, justify="right")
    return table


COMMANDS = (classify, evaluate_)
