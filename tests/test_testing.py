"""The toys are what they promise: the same every time, open, and readable by everything else."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from chiasm.inputs.batch import pack
from chiasm.testing import (
    CONTROLS,
    IMAGE_SIZE,
    VOCAB,
    toy_crossed,
    toy_decoder,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_tokenizer,
    toy_video,
    toy_vit,
)
from chiasm.training import NextToken


@pytest.mark.parametrize("new", [toy_decoder, toy_vit, toy_crossed, toy_prefix])
def test_a_model_is_a_function_of_its_seed(new: object) -> None:
    state = torch.get_rng_state()
    first, again, other = new(), new(), new(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])


def test_gates_are_open() -> None:
    gates = [p for name, p in toy_crossed().named_parameters() if name.endswith("_gate")]
    assert len(gates) == 4 and all(0.1 < float(gate.detach().tanh()) < 0.95 for gate in gates)


def test_tokens_are_bytes_and_controls_stand_behind_them() -> None:
    tokenizer = toy_tokenizer()
    assert tokenizer.vocab_size == VOCAB
    assert [tokenizer.control(name) for name in CONTROLS] == [256, 257, 258]
    for text in ("", "a cat", "größer 漢字 🙂", "<|im_end|>"):
        ids = tokenizer.encode(text)
        assert len(ids) == len(text.encode()) and tokenizer.decode(ids) == text


def test_pictures_differ_and_open() -> None:
    pictures = [toy_picture(number) for number in range(60)]
    assert len({picture.key for picture in pictures}) == 60
    assert Image.open(io.BytesIO(pictures[0].read())).size == (IMAGE_SIZE, IMAGE_SIZE)
    assert toy_pixels(pictures[1]).shape == (1, 1, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert torch.equal(toy_pixels(pictures[1]), toy_pixels(toy_picture(1)))


def test_videos_differ_and_move() -> None:
    videos = [toy_video(number, frames=4) for number in range(20)]
    assert len({video.key for video in videos}) == 20
    with Image.open(io.BytesIO(videos[3].source.read())) as image:
        assert (image.n_frames, image.size) == (4, (IMAGE_SIZE, IMAGE_SIZE))
    assert {len(toy_pixels(video)) for video in videos} == {1, 2, 3, 4, 5}
    assert toy_pixels(videos[0]).shape[1:] == (1, 1, 3, IMAGE_SIZE, IMAGE_SIZE)


def test_a_rendered_sample_keeps_the_rules_of_the_renderer() -> None:
    for seed in range(30):
        pictures = [toy_picture(number) for number in range(seed % 5)]
        sample = toy_rendered(seed, pictures, places=3)
        assert len(sample.ids) == len(sample.trained) == len(sample.seen) == 12 + 3 * len(pictures)
        shown = 0
        for t, (token, (first, last)) in enumerate(zip(sample.ids, sample.seen, strict=True)):
            shown += token == VOCAB
            assert last == -(-shown // 3) and (last == 0 or first < last)
            assert not (sample.trained[t] and token == VOCAB)


def test_the_example_of_the_door_plate_runs() -> None:
    model = toy_crossed()
    batch = pack([toy_rendered(1, [toy_picture(0)]), toy_rendered(2)], toy_pixels)
    assert float(NextToken().loss(model, batch).detach()) > 0
