"""Reading encoders, training, stopping and going on, with tiny networks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from models.classifier import ModelError  # noqa: E402
from models.columns import COLUMNS, OFFSETS  # noqa: E402
from models.training import loop  # noqa: E402
from models.training.data import Row, encode_targets  # noqa: E402
from models.training.loop import Lesson, predict, train  # noqa: E402
from models.training.network import (  # noqa: E402
    Network,
    Shape,
    as_bert,
    distance_buckets,
    from_encoder,
)
from models.training.settings import load_settings  # noqa: E402

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
STAGE = msgspec.structs.replace(load_settings().student[0], batch_rows=8)
GOOD, BAD = "good", "bad"


@pytest.mark.parametrize("kind", ["Bert", "MPNet"])
def test_an_encoder_computes_what_the_reference_does(kind: str, tmp_path: Path) -> None:
    reference = getattr(transformers, f"{kind}Model")(
        getattr(transformers, f"{kind}Config")(**SIZES)
    ).eval()
    # As made, biases and the table of distances are zero and would hide mistakes.
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    reference.save_pretrained(tmp_path)
    network = from_encoder(tmp_path).eval()
    ids = torch.randint(5, 60, (3, 40))
    mask = (torch.arange(40) < torch.tensor([[40], [7], [21]])).long()
    with torch.inference_mode():
        hidden = reference(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        expected = network.heads(pooled)
        assert torch.allclose(network(ids, mask), expected, atol=1e-4)


def test_berts_names_are_undone_and_done_again(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(tmp_path)
    network = from_encoder(tmp_path)
    given = as_bert(network)
    assert given["heads.weight"].shape == (COLUMNS, 16)
    assert given["encoder.layer.1.attention.self.key.weight"].shape == (16, 16)


def test_another_kind_of_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match=r"config\.json"):
        Shape.read(tmp_path)


def test_near_distances_have_their_own_bucket_far_ones_share() -> None:
    buckets = distance_buckets(300, 32)
    assert buckets[150, 142:150].tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert buckets[150, 150:158].tolist() == [0, 17, 18, 19, 20, 21, 22, 23]
    assert buckets[299, 0] == buckets[299, 150] == 15
    assert buckets[0, 299] == 31


@pytest.fixture
def tokenizer() -> Tokenizer:
    words = {word: number for number, word in enumerate(["?", GOOD, BAD, "the", "phone", "is"])}
    made = Tokenizer(models.WordLevel(words, "?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.fixture
def lesson() -> Lesson:
    rows = [
        Row(f"the phone is {word}" + " the" * (number % 3), {"sentiment": label}, {})
        for number in range(20)
        for word, label in ((GOOD, "positive"), (BAD, "negative"))
    ]
    even = {"sentiment": {"negative": 1.0, "neutral": 1.0, "positive": 1.0}}
    targets, weights = encode_targets(rows, even, disputed_loser=0.3, smoothing=0.05)
    return Lesson(rows, targets, weights, [(len(rows), 6)])


def fresh() -> Network:
    torch.manual_seed(1)
    return Network(Shape(**SIZES, layer_norm_eps=1e-12))


def test_training_learns_what_the_labels_say(
    tokenizer: Tokenizer, lesson: Lesson, tmp_path: Path
) -> None:
    stage = msgspec.structs.replace(STAGE, encoder_rate=1e-2, head_rate=1e-2, average_decay=0.5)
    trained = train(fresh(), lesson, tokenizer, stage, 1, tmp_path / "net.checkpoint")
    found = predict(trained, tokenizer, [f"the phone is {word}" for word in (BAD, GOOD)])
    assert found[:, OFFSETS["sentiment"]].argmax(axis=1).tolist() == [0, 2]


def test_a_run_stopped_midway_ends_as_if_it_had_not(
    tokenizer: Tokenizer, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(fresh(), lesson, tokenizer, STAGE, 1, tmp_path / "whole.checkpoint")

    steps = 0
    update = loop._update_average

    def stop_after_ten(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        if steps > 10:
            raise KeyboardInterrupt
        update(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_update_average", stop_after_ten)
    checkpoint = tmp_path / "stopped.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), lesson, tokenizer, STAGE, 1, checkpoint)
    assert checkpoint.exists()

    monkeypatch.setattr(loop, "_update_average", update)
    found = train(fresh(), lesson, tokenizer, STAGE, 1, checkpoint)
    assert not checkpoint.exists()
    texts = [row.text for row in lesson.rows]
    both = [predict(network, tokenizer, texts) for network in (expected, found)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


def test_the_lowest_layers_can_be_kept(
    tokenizer: Tokenizer, lesson: Lesson, tmp_path: Path
) -> None:
    stage = msgspec.structs.replace(STAGE, frozen_layers=1)
    before = fresh().state_dict()
    after = train(fresh(), lesson, tokenizer, stage, 1, tmp_path / "n.checkpoint").state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("layers.1.", "heads.")) for name in changed)
