"""The training of the compact SAM: its loss, its passes, and that it learns and can be taken up again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.demo.making.sam import LANES, Lessons, Settings, Stage, Training, _by_sort, endless, examine, stages, train
from core.demo.making.sam_dense import Apart, apart_loss, drawn
from core.demo.making.sam_lessons import lesson
from core.demo.making.sam_loss import answer_loss, assign, dice, entropy, mask_loss, overlap
from core.demo.making.sam_passes import WHOLE, Window, answer, correcting_click, encode, positions, prompts_of
from core.demo.making.sam_pictures import KEPT, picture
from core.segments.sam.checkpoints import load_sam
from core.segments.sam.compact import Shape, build

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)
ASKED = (Stage(1.0, 64, 1, 2),)
QUICK = Settings(minutes=0.02, stages=(Stage(0.3, 32, 2, 0), *ASKED), rate=2e-3, bfloat16=False)


def square(side: int, left: int, top: int, size: int) -> torch.Tensor:
    mask = torch.zeros(side, side)
    mask[top : top + size, left : left + size] = 1
    return mask


def test_dice_by_hand():
    logits, targets = torch.zeros(2, 2), torch.tensor([[1.0, 0], [0, 0]])
    assert float(dice(logits, targets)) == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))
    sure = torch.where(targets > 0, 50.0, -50.0)
    assert float(dice(sure, targets)) == pytest.approx(0, abs=1e-6)


def test_the_tilt_says_what_a_pixel_too_many_costs():
    zeros = torch.zeros(16, 16)
    for size in (1, 4, 15):
        target = square(16, 0, 0, size)
        share = 256 / size**2 - 1  # outside over inside
        for tilt in (0.0, 0.5, 1.0):  # every pixel's entropy is log 2
            expected = (1 + share**tilt) * math.log(2)
            assert float(entropy(zeros, target, tilt)) == pytest.approx(expected, rel=1e-5)
            total = expected + float(dice(zeros, target))
            assert float(mask_loss(zeros, target, tilt)) == pytest.approx(total, rel=1e-5)


def test_overlap_by_hand():
    first = torch.stack([square(8, 0, 0, 4), square(8, 2, 0, 4)])[None]
    found = overlap(first * 2 - 1, first)
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 1 / 3], [1 / 3, 1.0]]))


def test_each_meaning_gets_its_own_output_so_that_they_fit_best():
    targets = torch.stack([square(8, 0, 0, 2), square(8, 0, 0, 4), square(8, 0, 0, 8)])[None]
    shuffled = [2, 0, 1]
    logits = targets[:, shuffled] * 8 - 4
    chosen = assign(logits, targets, torch.ones(1, 3, dtype=torch.bool))
    assert [shuffled[k] for k in chosen[0].tolist()] == [0, 1, 2]


def test_only_real_meanings_count():
    targets = torch.zeros(1, 3, 8, 8)
    targets[0, 0] = square(8, 2, 2, 3)
    logits = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    logits[0, 0] = targets[0, 0] * 40 - 20
    logits[0, 3] = targets[0, 0] * 40 - 20
    quality = torch.tensor([[1.0, 0, 0, 1]])
    quality[0, 1:3] = overlap(logits[:, 1:3], targets[:, :1])[0, :, 0]
    loss, reached = answer_loss(logits, quality, targets, torch.tensor([0]))
    assert float(loss) == pytest.approx(0, abs=1e-3)
    assert reached.tolist() == [1.0]


def test_a_correcting_click_falls_on_what_is_wrong_and_says_what_is_right():
    wanted = torch.stack([square(16, 4, 4, 8), square(16, 0, 0, 4), square(16, 3, 3, 3)])
    logits = torch.stack([square(16, 4, 4, 4), square(16, 0, 0, 8), square(16, 3, 3, 3)]) * 2 - 1
    for seed in range(5):
        points, marks = correcting_click(logits, wanted, 64, torch.Generator().manual_seed(seed))
        assert marks[:, 0].tolist() == [1, 0, -1]
        x, y = ((points[:2, 0] + 0.5) / 4).long().unbind(1)
        assert ((logits[:2] > 0) != (wanted[:2] > 0.5))[[0, 1], y, x].all()


def test_a_window_is_asked_like_that_part_of_the_whole_input():
    sam = build(TINY)
    points, marks = torch.tensor([[[20.0, 10]]]), torch.tensor([[1]])
    boxes = torch.tensor([[1.0, 2, 30, 28]])
    with torch.no_grad():
        torch.testing.assert_close(positions(sam, 8, WHOLE), sam.prompt_encoder.get_dense_pe(), atol=1e-4, rtol=0)
        embedding = encode(sam, torch.rand(1, 3, 32, 32) * 255)
        here, there = (sam.prompt_encoder((p, marks), None, None)[0] for p in (points, points + torch.tensor([16, 24])))
        assert not torch.allclose(here, there)
        window = positions(sam, 4, Window(3, 2))
        torch.testing.assert_close(window, sam.prompt_encoder.get_dense_pe()[:, :, 3:7, 2:6], atol=1e-4, rtol=0)
        logits, quality = answer(sam, embedding, points, marks, None, window=Window(3, 2))
        expected, _ = sam.mask_decoder.predict_masks(
            embedding, window, there, sam.prompt_encoder.no_mask_embed.weight[..., None, None].expand(1, -1, 4, 4)
        )
        torch.testing.assert_close(logits, expected)
        assert quality.shape == (1, 4)
        logits, _ = answer(sam, embedding, points, marks, boxes, logits[:, :1])
    assert logits.shape == (1, 4, 16, 16)


def test_a_picture_at_half_the_side_is_asked_like_the_whole():
    sam = build(TINY)
    half = Window(stretch=2)
    middles = positions(sam, 8, WHOLE).detach()[0, :, 0, 0]
    corner = torch.tensor([[[1.5, 1.5]]])  # in the whole input 3.5, the middle of its first place
    torch.testing.assert_close(half.points(corner), torch.tensor([[[3.5, 3.5]]]))
    clicked = sam.prompt_encoder.pe_layer.forward_with_coords(half.points(corner) + 0.5, (64, 64))[0, 0]
    torch.testing.assert_close(clicked, middles, atol=1e-4, rtol=0)
    torch.testing.assert_close(positions(sam, 4, half)[0], sam.prompt_encoder.pe_layer((4, 4)), atol=1e-4, rtol=0)


def test_the_package_encodes_a_picture_alike():
    sam = build(TINY)
    images = torch.randint(0, 255, (2, 3, 64, 64)).float()
    with torch.no_grad():
        torch.testing.assert_close(encode(sam, images), sam.image_encoder(sam.preprocess(images)))


def test_answers_about_several_pictures_are_what_the_packages_decoder_says_of_each():
    sam = build(TINY)
    points, marks = torch.rand(4, 2, 2) * 60, torch.tensor([[1, 0], [1, -1], [0, 1], [1, 1]])
    with torch.no_grad():
        embeddings = encode(sam, torch.rand(2, 3, 64, 64) * 255)
        logits, quality = answer(sam, embeddings, points, marks, None)
        for picture_at, rows in ((0, slice(0, 2)), (1, slice(2, 4))):
            sparse, dense = sam.prompt_encoder((points[rows], marks[rows]), None, None)
            for several, part in ((False, slice(0, 1)), (True, slice(1, None))):
                masks, scores = sam.mask_decoder(
                    embeddings[picture_at : picture_at + 1], sam.prompt_encoder.get_dense_pe(), sparse, dense, several
                )
                torch.testing.assert_close(masks, logits[rows, part])
                torch.testing.assert_close(scores, quality[rows, part])


def test_anchors_whose_masks_are_their_things_cost_nothing_and_others_do():
    things = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    things[:, 0, 2:5, 2:5], things[:, 1, :, 4:] = 7, 3
    at = torch.tensor([[0, 18, 63]])  # beside the part; in it; in the right half
    masks = torch.stack([things[0, level].flatten() == things[0, level].flatten()[at[0]][:, None] for level in (0, 1)])
    right = torch.where(masks, 30.0, -30.0)[None]
    loss, reached = apart_loss(right, things, at, 0.5)
    assert float(loss) == pytest.approx(0, abs=1e-4)
    assert reached == 1
    loss, reached = apart_loss(-right, things, at, 0.5)
    assert float(loss) > 30
    assert reached == 0


def test_an_anchor_is_answered_as_the_decoder_would_answer_a_token_of_what_stands_there():
    sam, head = build(TINY), Apart(32)
    head.where.weight.data.zero_()
    at = torch.tensor([[0, 100], [255, 3]])
    with torch.no_grad():
        embeddings = encode(sam, torch.rand(2, 3, 32, 32) * 255)
        logits = head(sam, embeddings, positions(sam, 4, WHOLE), at)
        decoder = sam.mask_decoder
        shown = embeddings + sam.prompt_encoder.no_mask_embed.weight[..., None, None]
        shown = decoder.transformer.layers[-1].norm4(shown.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fine = decoder.output_upscaling(shown)
        corner = head.own(fine[0, :, 0, 0]) + shown[0, :, 0, 0]  # beyond the middle of the first place nothing blends
        expected = torch.einsum("c,chw->hw", decoder.output_hypernetworks_mlps[0](corner), fine[0])
    assert logits.shape == (2, 2, 2, 256)
    torch.testing.assert_close(logits[0, 0, 0], expected.flatten())


def test_anchors_fall_on_small_parts_too():
    things = torch.zeros(2, 2, 20, 20, dtype=torch.uint8)
    things[0, 0, 0, :4], things[1, 0, 3, 5:9] = 9, 200
    at = drawn(things, 20, torch.Generator().manual_seed(0))
    chosen = things[:, 0].flatten(1).gather(1, at)
    assert ((chosen > 0).sum(1) >= 2).all()
    assert ((chosen == 0).float().mean(1) > 0.5).all()


def test_the_rate_rises_and_falls_and_the_side_grows():
    settings = Settings(minutes=1, warm=0.1, stages=QUICK.stages, tilts=(0.4, 0.8), rate=1.0)
    rates = [settings.rate_at(part) for part in np.linspace(0, 1, 21)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 2
    assert rates[-1] == pytest.approx(0.01)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert [settings.tilt_at(part) for part in (0, 0.5, 1)] == pytest.approx([0.4, 0.6, 0.8])
    assert [settings.stage(part).side for part in (0, 0.29, 0.3, 1.0)] == [32, 32, 64, 64]


def test_stages_by_text():
    assert stages("0.5:32:2:0,1:64:1:2") == (Stage(0.5, 32, 2, 0), Stage(1.0, 64, 1, 2))
    with pytest.raises(ValueError, match="values to unpack"):
        stages("0.5:32")


def test_clicks_and_boxes_are_asked_apart():
    lessons = [lesson(0, index, picture(0, 1, 64), 64, 2) for index in range(8)]
    sorts = _by_sort(lessons)
    assert sorted(number for numbers in sorts for number in numbers) == list(range(8))
    assert len(sorts) > 1
    for numbers in sorts:
        points, marks, framed = prompts_of([lessons[i] for i in numbers])
        assert len(points) == len(marks) == 2 * len(numbers)
        assert (framed is None) == (points.shape[1] > 0)


@pytest.mark.slow
def test_it_learns_one_lesson_by_heart():
    run = Training(Settings(minutes=1, warm=0.0, rate=3e-3, stages=ASKED, corrections=(1.0,), bfloat16=False), TINY)
    given = [lesson(0, 1, picture(0, 1, 64), 64, 2)]
    told = [run.step(given) for _ in range(40)]
    for name, left in (("loss", 0.6), ("dense loss", 0.75)):
        losses = [one[name] for one in told]
        assert np.mean(losses[-5:]) < left * np.mean(losses[:5])


def test_without_prompts_the_prompts_transformer_rests():
    run = Training(QUICK, TINY)
    before = {name: weight.clone() for name, weight in run.sam.state_dict().items()}
    found = run.step([lesson(0, 1, picture(0, 1, 64), 32, 0)])
    assert set(found) == {"dense loss", "dense IoU"}
    moved = {name for name, weight in run.sam.state_dict().items() if not weight.equal(before[name])}
    assert {name.split(".")[0] for name in moved} == {"image_encoder", "prompt_encoder", "mask_decoder"}
    assert any("output_upscaling" in name for name in moved)
    assert not any("attn" in name or "tokens" in name or "iou" in name for name in moved)


@pytest.mark.slow
def test_a_run_can_begin_with_an_earlier_one(tmp_path):
    out = tmp_path / "sam.safetensors"
    train(Training(QUICK, TINY), out, processes=0)
    run = Training(replace(QUICK, start="its digest"), TINY)
    run.begin_with(out)
    earlier = load_sam(f"compact@{out}").state_dict()
    assert all(torch.equal(weight, earlier[name]) for name, weight in run.sam.state_dict().items())
    assert all(torch.equal(weight, earlier[name]) for name, weight in run.average.state_dict().items())
    with pytest.raises(ValueError, match="other settings"):
        run.take_up(tmp_path / "sam.checkpoint.pt")


def test_lessons_come_in_order_from_any_number_on_and_use_pictures_again():
    made = Lessons(0, 64, 32, 2)
    stream = endless(made, 7, processes=0)
    for index in (7, 8):
        assert np.array_equal(next(stream).image, made[index].image)
    assert made[0].image.shape == (3, 32, 32)
    assert [made.number(index) for index in range(8)] == list(range(8))
    late = [made.number(16 * KEPT + index) for index in range(2 * LANES)]
    assert len(set(late)) > LANES
    assert all(KEPT < number < 2 * KEPT + LANES for number in late)
    assert all(number % LANES == index % LANES for index, number in enumerate(late))  # whoever makes a lane draws alone


@pytest.mark.slow
def test_a_run_ends_in_a_file_and_is_taken_up_where_it_was(tmp_path):
    out = tmp_path / "sam.safetensors"
    run = Training(QUICK, TINY)
    found = train(run, out, processes=0)
    assert set(found) <= {"click", "best", "box"}
    assert load_sam(f"compact@{out}").image_encoder.img_size == 64
    again = Training(QUICK, TINY)
    again.take_up(tmp_path / "sam.checkpoint.pt")
    assert (again.steps, again.seen, again.part) == (run.steps, run.seen, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(again.sam.parameters(), run.sam.parameters()))
    assert examine(again.average, TINY, 64, 3) == examine(run.average, TINY, 64, 3)
    with pytest.raises(ValueError, match="other settings"):
        Training(Settings(minutes=2), TINY).take_up(tmp_path / "sam.checkpoint.pt")
