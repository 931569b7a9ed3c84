"""One way to label posts: `python -m benchmarks.model_run NAME CORES TEXTS`, for `model_speed`.

The ways are `onnx`, our classifier as the worker runs it; `torch`, the same network in float by
itself; `pipeline` and `pipeline-large`, what `transformers.pipeline` makes of the same encoder and
of one with 12 layers, 768 wide, both with random weights, which do not change the speed. `parts`
times what our classifier does before the network. Loading and first calls are not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Final

BATCHES: Final = (1, 8, 32)
WORKER_BATCH: Final = 512

_SECONDS: Final = 4.0
"""How long a figure is measured."""

LARGE: Final = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}

Label = Callable[[list[str]], object]


def measured(label: Label, texts: Sequence[str], batch: int) -> dict[str, float]:
    """Posts a second of `label`, and a second of CPU, given `batch` of `texts` at a time."""
    label(list(texts[:batch]))
    source = cycle(texts)
    done, began, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < _SECONDS:
        label(list(islice(source, batch)))
        done += batch
    return {"speed": done / elapsed, "per_cpu_second": done / (time.process_time() - cpu)}


def onnx(texts: Sequence[str], reposted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Our classifier: without its memory, then with it on a stream that has reposts."""
    from models.onnx import OnnxClassifier

    classifier = OnnxClassifier(cache_posts=0)
    found = {
        str(batch): measured(classifier.classify, texts, batch)
        for batch in (*BATCHES, WORKER_BATCH)
    }
    classifier.close()
    classifier = OnnxClassifier()
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(reposted), WORKER_BATCH):
        classifier.classify(reposted[at : at + WORKER_BATCH])
    found["stream"] = {
        "speed": len(reposted) / (time.perf_counter() - began),
        "per_cpu_second": len(reposted) / (time.process_time() - cpu),
    }
    classifier.close()
    return found


def parts(texts: Sequence[str]) -> dict[str, float]:
    """Microseconds a post of what comes before the network, and of all of it."""
    from tokenizers import Tokenizer

    from models.bundle import TOKENIZER_FILE, packaged_folder
    from models.language import LanguageDetector
    from models.normalise import normalise
    from models.onnx import OnnxClassifier

    tokenizer = Tokenizer.from_file(str(packaged_folder() / TOKENIZER_FILE))
    languages = LanguageDetector({"en"})
    classifier = OnnxClassifier(cache_posts=0)
    cleaned = [normalise(text) for text in texts]
    classifier.classify(texts[:100])  # first calls are slow
    steps: dict[str, Callable[[], object]] = {
        "normalising": lambda: [normalise(text) for text in texts],
        "language": lambda: [languages.detect(text) for text in texts],
        "tokenizing": lambda: tokenizer.encode_batch_fast(cleaned),
        "all": lambda: classifier.classify(texts),
    }
    found = {}
    for name, step in steps.items():
        began = time.process_time()
        step()
        found[name] = (time.process_time() - began) / len(texts) * 1e6
    classifier.close()
    return found


def torch_network(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """The float network, padded batches, nothing around it but the tokenizer."""
    import torch

    from benchmarks.plain import SHAPE, a_tokenizer
    from models.torch import Network

    tokenizer = a_tokenizer()
    network = Network({"vocab_size": len(tokenizer), **SHAPE})
    network.eval()
    torch.set_num_threads(len(os.sched_getaffinity(0)))

    def label(posts: list[str]) -> object:
        with torch.inference_mode():
            rows = tokenizer(posts, padding=True, truncation=True, return_tensors="pt")
            return network(rows["input_ids"], rows["attention_mask"]).argmax(-1).tolist()

    return {str(batch): measured(label, texts, batch) for batch in BATCHES}


def hugging_face(texts: Sequence[str], shape: dict[str, int]) -> dict[str, dict[str, float]]:
    """What a script would write, with the number of threads that is faster."""
    from transformers.utils import logging

    from benchmarks.plain import text_classification, use_the_faster_threads

    logging.set_verbosity_error()
    classify = text_classification(shape)
    found = {}
    for batch in BATCHES:
        use_the_faster_threads(classify, batch)
        found[str(batch)] = measured(
            lambda posts, batch=batch: classify(posts, batch_size=batch), texts, batch
        )
    return found


def main(name: str, cores: str, file: str) -> None:
    """Measure; print what was found."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    posts = json.loads(Path(file).read_text(encoding="utf-8"))
    texts: list[str] = posts["distinct"]
    found: object
    if name == "onnx":
        found = onnx(texts, posts["reposted"])
    elif name == "parts":
        found = parts(texts)
    elif name == "torch":
        found = torch_network(texts)
    else:
        from benchmarks.plain import SHAPE

        found = hugging_face(texts, LARGE if name == "pipeline-large" else SHAPE)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
