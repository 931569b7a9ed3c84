"""The classifier as it runs in production: int8 weights, ONNX Runtime, CPU."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.bundle import MODEL_FILE, TOKENIZER_FILE, Bundle, packaged_folder, read_bundle
from models.classifier import ModelError
from models.columns import COLUMNS, OFFSETS
from models.evaluation import softmax
from models.labels import HEADS, Label, Labels, neutral_labels
from models.normalise import normalise

Logits = NDArray[np.float32]

DEFAULT_BATCH_POSTS: Final = 4
"""Posts per run of the model: a fifth faster than one by one, and larger batches are no faster."""

DEFAULT_CACHE_POSTS: Final = 20_000
"""Texts whose labels are kept for reposts; about 3 kB each."""

_SPECIAL_TOKENS: Final = 2
_EMPTY: Final = neutral_labels("empty")


class OnnxClassifier:
    """Labels posts with the ONNX model in a folder.

    A post gets the same labels whatever is around it: posts of equal token length share a run, so
    nothing is padded, and the model scales each token by itself (`models.training.graph`).

    Args:
        folder: Folder with `model.onnx`, `tokenizer.json` and `config.json`; the weights that came
            with the package if not given.
        sessions: ONNX Runtime sessions, each run by a thread of its own; one per core if not given.
        batch_posts: Posts per run of a session, at most.
        cache_posts: Texts whose labels are remembered, the least recently seen going first.

    Attributes:
        cache_lookups: Non-empty texts asked about so far.
        cache_hits: How many of them were answered without the model.

    Raises:
        ModelError: a file is missing, damaged or made for other labels.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        sessions: int | None = None,
        batch_posts: int = DEFAULT_BATCH_POSTS,
        cache_posts: int = DEFAULT_CACHE_POSTS,
    ) -> None:
        folder = folder or packaged_folder()
        bundle = read_bundle(folder)
        self.cache_lookups = 0
        self.cache_hits = 0
        self._config = bundle.config
        self._batch_posts = batch_posts
        self._cache_posts = cache_posts
        self._cache: OrderedDict[str, Labels] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._judging: dict[str, Future[dict[str, Labels]]] = {}
        self._tokenizer = _open_tokenizer(folder, bundle)
        count = sessions or len(os.sched_getaffinity(0))
        self._sessions = [_open_session(folder, bundle) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="classifier")

    @property
    def version(self) -> str:
        """Name and revision of the weights."""
        return self._config.version

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """Label `texts`, in order; a text with nothing readable in it is abstained on as `empty`.

        Never raises for what a text contains: long ones are cut to the model's window, other
        languages and bare emoji are labelled as well as they can be.
        """
        cleaned = [normalise(text) for text in texts]
        new: dict[str, None] = {}
        judging: Future[dict[str, Labels]] = Future()
        with self._cache_lock:
            known, elsewhere = self._look_up(cleaned, new)
            self._judging.update(dict.fromkeys(new, judging))
        try:
            judged = dict(zip(new, self._judge(list(new)), strict=True)) if new else {}
            judging.set_result(judged)
        except BaseException as error:
            judging.set_exception(error)
            raise
        finally:
            with self._cache_lock:
                for text in new:
                    del self._judging[text]
                if judging.exception() is None:
                    self._remember(judged)
        known.update(judged)
        # Waited for last: two calls that wait for each other have done their own part by then.
        for text, call in elsewhere.items():
            known[text] = call.result()[text]
        return [known[text] for text in cleaned]

    def _look_up(
        self, cleaned: Sequence[str], new: dict[str, None]
    ) -> tuple[dict[str, Labels], dict[str, Future[dict[str, Labels]]]]:
        """Labels of the texts judged before, and the calls that are judging others now.

        All other texts are put into `new`, each once.
        """
        known = {"": _EMPTY}
        elsewhere: dict[str, Future[dict[str, Labels]]] = {}
        for text in cleaned:
            if not text:
                continue
            self.cache_lookups += 1
            if text in known or text in new or text in elsewhere:
                self.cache_hits += 1
            elif (labels := self._cache.get(text)) is not None:
                self.cache_hits += 1
                self._cache.move_to_end(text)
                known[text] = labels
            elif (call := self._judging.get(text)) is not None:
                self.cache_hits += 1
                elsewhere[text] = call
            else:
                new[text] = None
        return known, elsewhere

    def logits(self, texts: Sequence[str]) -> Logits:
        """Raw outputs (texts, values of all heads) of normalised, non-empty `texts`."""
        return self._run([coded.ids for coded in self._tokenizer.encode_batch_fast(list(texts))])

    def close(self) -> None:
        """Stop the threads and drop the sessions; the classifier cannot be used afterwards."""
        self._pool.shutdown(cancel_futures=True)
        self._sessions.clear()
        self._cache.clear()

    def _judge(self, texts: list[str]) -> list[Labels]:
        tokens = [coded.ids for coded in self._tokenizer.encode_batch_fast(texts)]
        labels = self._label(self._run(tokens))
        # The tokenizer drops a few characters more, and may leave only its own two marks.
        return [
            found if len(ids) > _SPECIAL_TOKENS else _EMPTY
            for ids, found in zip(tokens, labels, strict=True)
        ]

    def _run(self, tokens: Sequence[Sequence[int]]) -> Logits:
        """Logits of each row of `tokens`, the runs spread over the sessions."""
        if not self._sessions:
            raise RuntimeError("the classifier is closed")
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, ids in enumerate(tokens):
            by_length[len(ids)].append(row)
        size = self._batch_posts
        batches = [
            rows[at : at + size]
            for _, rows in sorted(by_length.items(), reverse=True)
            for at in range(0, len(rows), size)
        ]
        logits = np.empty((len(tokens), COLUMNS), np.float32)
        todo = iter(batches)

        def work(session: onnxruntime.InferenceSession) -> None:
            # Taking the next item of a list iterator is atomic, so the threads share it freely.
            for rows in todo:
                ids = np.array([tokens[row] for row in rows], np.int64)
                (logits[rows],) = session.run(None, {"ids": ids})

        for done in [self._pool.submit(work, s) for s in self._sessions[: len(batches)]]:
            done.result()
        return logits

    def _soften(self, logits: Logits) -> NDArray[np.float32]:
        return np.concatenate(
            [
                softmax(logits[:, at], self._config.temperatures[head])
                for head, at in OFFSETS.items()
            ],
            axis=1,
        )

    def _label(self, logits: Logits) -> list[Labels]:
        chances = self._soften(logits).astype(np.float64).round(4)
        columns: list[list[Label]] = []
        for head, values in HEADS.items():
            at = OFFSETS[head]
            columns.append(
                [
                    Label(values[best], dict(zip(values, row, strict=True)))
                    for best, row in zip(
                        logits[:, at].argmax(axis=1).tolist(),
                        chances[:, at].tolist(),
                        strict=True,
                    )
                ]
            )
        return [Labels(*row) for row in zip(*columns, strict=True)]

    def _remember(self, judged: Mapping[str, Labels]) -> None:
        self._cache.update(judged)
        while len(self._cache) > self._cache_posts:
            self._cache.popitem(last=False)


def _open_tokenizer(folder: Path, bundle: Bundle) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(bundle.tokenizer)
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{folder / TOKENIZER_FILE}: no tokenizer ({error})") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.config.max_tokens)
    return tokenizer


def _open_session(folder: Path, bundle: Bundle) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Shapes differ from run to run, so a remembered memory plan would only grow.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(
            bundle.model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ModelError(
            f"{folder / MODEL_FILE}: ONNX Runtime cannot load it ({error}); "
            "install the onnxruntime version that pyproject.toml asks for"
        ) from error
