"""What the backends share: from texts to tokens, from logits to labels, a memory for reposts."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.bundle import TOKENIZER_FILE, Bundle
from models.classifier import ModelError
from models.columns import COLUMNS, OFFSETS
from models.evaluation import softmax
from models.labels import HEADS, Label, Labels, neutral_labels
from models.language import LanguageDetector
from models.normalise import normalise

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]

Runner: TypeAlias = Callable[[Ids, Sequence[int]], Logits]
"""Runs the network: ids (posts, tokens) and the tokens of each post to logits (posts, COLUMNS).

Ids past a post's tokens are padding. Two calls of `classify` may run it at the same time.
"""

DEFAULT_CACHE_POSTS: Final = 20_000
"""Texts whose labels are kept for reposts; about 3 kB each."""

_SPECIAL_TOKENS: Final = 2
_EMPTY: Final = neutral_labels("empty")

_Text: TypeAlias = tuple[str, str | None]
"""A normalised text and its language: what labels follow from."""


class EncoderClassifier:
    """A classifier around an encoder, which a backend hands over as `runners`.

    Args:
        folder: Where `bundle` was read, for messages.
        bundle: The classifier's files.
        runners: Ways to run the network, as many as there are threads to run them.
        batch_posts: Posts per run, at most.
        cache_posts: Texts whose labels are remembered, the least recently seen going first.
        length_step: Posts share a run when their tokens, rounded up to a multiple of this, are as
            many; with 1 nothing is padded.

    Attributes:
        cache_lookups: Texts so far that were for the model to judge.
        cache_hits: How many of them were answered without it.

    Raises:
        ModelError: The tokenizer cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        runners: Sequence[Runner],
        *,
        batch_posts: int,
        cache_posts: int = DEFAULT_CACHE_POSTS,
        length_step: int = 1,
    ) -> None:
        self.cache_lookups = 0
        self.cache_hits = 0
        self._config = bundle.config
        self._batch_posts = batch_posts
        self._cache_posts = cache_posts
        self._length_step = length_step
        self._cache: OrderedDict[_Text, Labels] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._judging: dict[_Text, Future[dict[_Text, Labels]]] = {}
        self._tokenizer = _open_tokenizer(folder, bundle)
        self._languages = LanguageDetector(bundle.config.languages)
        self._runners = list(runners)
        self._pool = ThreadPoolExecutor(len(runners), thread_name_prefix="classifier")

    @property
    def version(self) -> str:
        """Name and revision of the weights."""
        return self._config.version

    @property
    def max_tokens(self) -> int:
        """Tokens of a post that are read, the tokenizer's own two included."""
        return self._config.max_tokens

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """Label `texts`, in order.

        Never raises for what a text contains: long ones are cut to the model's window. A text with
        nothing readable in it is abstained on as `empty`, one that is surely in a language the
        weights were not made for as `language`.
        """
        read = [(normalise(text), self._languages.detect(text)) for text in texts]
        new: dict[_Text, None] = {}
        judging: Future[dict[_Text, Labels]] = Future()
        with self._cache_lock:
            known, elsewhere = self._look_up(read, new)
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
        return [known[text] for text in read]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated probabilities (texts, values of all heads) of normalised, non-empty `texts`.

        Judged anew, whatever their language.
        """
        return self._soften(self.logits(texts))

    def logits(self, texts: Sequence[str]) -> Logits:
        """Raw outputs (texts, values of all heads) of normalised, non-empty `texts`."""
        return self._run(self._tokens(texts))

    def close(self) -> None:
        """Stop the threads and drop the network; the classifier cannot be used afterwards."""
        self._pool.shutdown(cancel_futures=True)
        self._runners.clear()
        self._cache.clear()

    def _look_up(
        self, read: Sequence[_Text], new: dict[_Text, None]
    ) -> tuple[dict[_Text, Labels], dict[_Text, Future[dict[_Text, Labels]]]]:
        """Labels of the texts judged before or not judged at all, and the calls judging others now.

        All other texts are put into `new`, each once.
        """
        known: dict[_Text, Labels] = {}
        elsewhere: dict[_Text, Future[dict[_Text, Labels]]] = {}
        for text in read:
            words, language = text
            if not words:
                known[text] = _EMPTY
                continue
            if self._languages.is_foreign(language):
                known[text] = neutral_labels("language", language)
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

    def _judge(self, texts: Sequence[_Text]) -> list[Labels]:
        tokens = self._tokens([words for words, _ in texts])
        # The tokenizer drops a few characters more, and may leave only its own two marks.
        return [
            labels if len(ids) > _SPECIAL_TOKENS else _EMPTY
            for ids, labels in zip(tokens, self._label(texts, self._run(tokens)), strict=True)
        ]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [coded.ids for coded in self._tokenizer.encode_batch_fast(list(texts))]

    def _run(self, tokens: Sequence[Sequence[int]]) -> Logits:
        """Logits of each row of `tokens`, the runs spread over the runners."""
        if not self._runners:
            raise RuntimeError("the classifier is closed")
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, ids in enumerate(tokens):
            by_length[-(-len(ids) // self._length_step) * self._length_step].append(row)
        size = self._batch_posts
        batches = [
            (length, rows[at : at + size])
            for length, rows in sorted(by_length.items(), reverse=True)
            for at in range(0, len(rows), size)
        ]
        logits = np.empty((len(tokens), COLUMNS), np.float32)
        todo = iter(batches)

        def work(runner: Runner) -> None:
            # Taking the next item of a list iterator is atomic, so the threads share it freely.
            for length, rows in todo:
                ids = np.zeros((len(rows), length), np.int64)
                for at, row in enumerate(rows):
                    ids[at, : len(tokens[row])] = tokens[row]
                logits[rows] = runner(ids, [len(tokens[row]) for row in rows])

        for done in [self._pool.submit(work, one) for one in self._runners[: len(batches)]]:
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

    def _label(self, texts: Sequence[_Text], logits: Logits) -> list[Labels]:
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
        return [
            Labels(**dict(zip(HEADS, row, strict=True)), lang=language)
            for (_, language), row in zip(texts, zip(*columns, strict=True), strict=True)
        ]

    def _remember(self, judged: Mapping[_Text, Labels]) -> None:
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
