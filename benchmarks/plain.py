"""What people would otherwise write: `python -m benchmarks.plain CONFIG COUNT BATCH`.

A plain aiokafka loop around Hugging Face's `pipeline("text-classification")`, one event at a time
or `BATCH` at once, the result sent on to the mentions topic. One head with three labels, no brands,
no counting, no confirmation of what was sent. The encoder has the shape of ours (MiniLM-L6) in
float, with random weights: they do not change the speed. Torch has the number of
threads that is faster. Loading and first calls are not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers.utils import logging

from benchmarks.machine import Cpu, peak_megabytes
from models.bundle import CONFIG_FILE, TOKENIZER_FILE, packaged_folder
from pipeline.settings import load_settings

SHAPE = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}

_TRIED = 32
"""Posts labelled to find the faster number of threads."""


def a_tokenizer() -> Any:
    """Our tokenizer, as transformers takes it."""
    folder = packaged_folder()
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / TOKENIZER_FILE),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=json.loads((folder / CONFIG_FILE).read_bytes())["max_tokens"],
    )


def text_classification(shape: dict[str, int] = SHAPE) -> Any:
    """Hugging Face's pipeline as a script would make it."""
    tokenizer = a_tokenizer()
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), num_labels=3, **shape)
    ).eval()
    return pipeline("text-classification", model=model, tokenizer=tokenizer, truncation=True)


def use_the_faster_threads(classify: Any, batch: int) -> None:
    """Let torch use one thread or its default, whichever is faster here.

    With its default it waits busily for its own threads, which is slow where cores are not free.
    """
    post = "@larkbasket my slot was 6 to 8. It is 9:20. Three hungry kids. Where is our food?"
    taken = {}
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        classify([post] * batch, batch_size=batch)
        began = time.perf_counter()
        for _ in range(max(2, _TRIED // batch)):
            classify([post] * batch, batch_size=batch)
        taken[threads] = time.perf_counter() - began
    torch.set_num_threads(min(taken, key=lambda threads: taken[threads]))


async def loop(config: Path, count: int, batch: int) -> dict[str, float]:
    """Label `count` events; returns what it took."""
    classify = text_classification()
    use_the_faster_threads(classify, batch)
    settings = load_settings(config)
    servers = settings.kafka.bootstrap_servers
    consumer = AIOKafkaConsumer(
        settings.topic("events"),
        bootstrap_servers=servers,
        group_id=f"{settings.group}-plain",
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    await consumer.start()
    done, began, before = 0, 0.0, Cpu(0.0, 0.0)
    try:
        while done < count:
            if batch == 1:
                messages = [await consumer.getone()]
            else:
                fetched = await consumer.getmany(timeout_ms=1000, max_records=batch)
                messages = [message for part in fetched.values() for message in part]
            if not began:
                before, began = Cpu.of(os.getpid()), time.perf_counter()
            events = [json.loads(message.value) for message in messages]
            texts = [event["text"] for event in events]
            results = [classify(texts[0])[0]] if batch == 1 else classify(texts, batch_size=batch)
            for message, event, result in zip(messages, events, results, strict=True):
                value = json.dumps({**event, "labels": result}).encode()
                await producer.send(settings.topic("mentions"), value, key=message.key)
            done += len(messages)
        return {
            "events": done,
            "seconds": time.perf_counter() - began,
            "cpu": (Cpu.of(os.getpid()) - before).total,
            "peak_megabytes": peak_megabytes(os.getpid()),
            "threads": torch.get_num_threads(),
        }
    finally:
        await consumer.stop()
        await producer.stop()


def main(config: str, count: str, batch: str) -> None:
    """Run the loop; print what it took."""
    logging.set_verbosity_error()
    print(json.dumps(asyncio.run(loop(Path(config), int(count), int(batch)))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
