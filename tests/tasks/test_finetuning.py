"""What fine-tuning minimises, what learns, and what a step does to a clip and its label."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import TOY

from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.tasks.finetune import mean_by_row, monitor_of, paste
from openmarlin.tasks.finetune_losses import (
    LabelLoss,
    alignment,
    balanced_weights,
    uniformity,
)
from openmarlin.tasks.finetune_network import (
    TaskNetwork,
    choose_learning,
    drop_rates,
    parameter_groups,
)
from openmarlin.tasks.heads import LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.training.optim import FACTOR
from openmarlin.training.task import Monitor

NAN = math.nan
BINARY = Target("binary", ("smile",), ("0", "1"))
CLASSES = Target("class", ("mood",), ("sad", "glad", "angry"))
SEVERAL = Target("multilabel", ("a", "b"), ("a", "b"))
QUANTITIES = Target("regression", ("valence", "arousal"), ("valence", "arousal"))


def network() -> TaskNetwork:
    config = PRESETS["tiny"].changed(**TOY["shape"]).encoder_alone()
    generator = torch.Generator().manual_seed(0)
    net = TaskNetwork(Encoder(config, generator), LinearHead(config.width, 2))
    torch.nn.init.normal_(net.head.linear.weight, generator=generator)
    return net


def video(n: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 4, 32, 32, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("target", "labels", "answers"),
    [
        (BINARY, [[1.0], [NAN], [0.0]], [[0.3], [9.0], [-1.2]]),
        (CLASSES, [[2.0], [NAN], [0.0]], [[0.3, 1, 0], [9.0, 0, 0], [-1.2, 0.1, 0.4]]),
        (SEVERAL, [[1.0, NAN], [NAN, NAN], [0.0, 1.0]], [[0.3, 9], [9.0, 9], [-1.2, 0.5]]),
    ],
)
def test_cross_entropy_leaves_out_what_has_no_label(
    target: Target, labels: list[list[float]], answers: list[list[float]]
) -> None:
    answer = torch.tensor(answers, requires_grad=True)
    loss = LabelLoss(target)(answer, torch.tensor(labels))
    if target.is_one_of:
        expected = torch.nn.functional.cross_entropy(answer[[0, 2]], torch.tensor([2, 0]))
    else:
        there = ~torch.tensor(labels).isnan()
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            answer[there], torch.tensor(labels)[there]
        )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert answer.grad is not None
    assert answer.grad[1].abs().max() == 0


def test_smoothing_is_that_of_torch() -> None:
    answer, labels = torch.randn(4, 3), torch.tensor([[0.0], [1], [2], [2]])
    loss = LabelLoss(CLASSES, smoothing=0.1)(answer, labels)
    expected = torch.nn.functional.cross_entropy(answer, labels[:, 0].long(), label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_a_mixed_clip_has_a_mixed_label() -> None:
    answer, labels = torch.randn(2, 1), torch.tensor([[0.0], [1.0]])
    loss = LabelLoss(BINARY)(answer, labels, torch.tensor([0.7, 0.9]))
    aims = torch.tensor([[0.3], [0.9]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(answer, aims)
    torch.testing.assert_close(loss, expected)


def test_nothing_labelled_is_no_loss() -> None:
    for target, width in ((BINARY, 1), (CLASSES, 3), (QUANTITIES, 2)):
        answer = torch.randn(2, width, requires_grad=True)
        loss = LabelLoss(target)(answer, torch.full((2, len(target.values)), NAN))
        loss.backward()
        assert answer.grad is not None
        assert answer.grad.isfinite().all()
        assert loss.item() == pytest.approx(1.0 if target is QUANTITIES else 0.0)


def test_concordance_of_quantities() -> None:
    """1 - CCC (Lin, 1989) with the moments of the whole batch, of each column by itself."""
    generator = torch.Generator().manual_seed(0)
    answer, labels = (torch.randn(6, 2, generator=generator) for _ in range(2))
    labels[1, 0] = NAN
    expected = []
    for x, y in zip(answer.T.numpy(), labels.T.numpy(), strict=True):
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        covariance = np.cov(x, y, bias=True)[0, 1]
        expected.append(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
    loss = LabelLoss(QUANTITIES)(answer, labels)
    assert loss.item() == pytest.approx(1 - np.mean(expected), rel=1e-5)
    squares = LabelLoss(QUANTITIES, regression="mse")(answer, labels)
    assert squares.item() == pytest.approx(np.nanmean((answer - labels).numpy() ** 2), rel=1e-5)


def test_classes_weigh_the_same_in_all() -> None:
    labels = np.array([[0.0]] * 6 + [[1.0]] * 2)
    no, yes = balanced_weights(labels, BINARY)
    assert (no.item(), yes.item()) == pytest.approx((8 / 12, 2))
    weights = balanced_weights(np.array([[0.0], [0], [0], [2], [NAN]]), CLASSES)
    assert weights.tolist() == pytest.approx([4 / 6, 1, 2])  # of a class without rows it is unused
    loss = LabelLoss(BINARY, balanced_weights(labels, BINARY))
    always_no = loss(torch.full((8, 1), -5.0), torch.from_numpy(labels).float())
    always_yes = loss(torch.full((8, 1), 5.0), torch.from_numpy(labels).float())
    torch.testing.assert_close(always_no, always_yes)
    assert balanced_weights(np.zeros((3, 2)), QUANTITIES) is None


def test_alignment_and_uniformity() -> None:
    """Wang and Isola: mean d² of equal labels; log of the mean of exp(-2 d²) over pairs."""
    features = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    labels = torch.tensor([[1.0], [1], [0]])
    assert alignment(features, labels).item() == pytest.approx(2)
    pairs = [math.exp(-4), math.exp(-8), math.exp(-4)]
    assert uniformity(features).item() == pytest.approx(math.log(sum(pairs) / 3))
    assert uniformity(features[:1]).item() == alignment(features[:1], labels[:1]).item() == 0


def test_the_feature_is_the_encoders() -> None:
    net = network()
    features, answers = net(video())
    torch.testing.assert_close(features, net.encoder.features(video().permute(0, 4, 1, 2, 3)))
    torch.testing.assert_close(answers, net.head(features))


def test_branches_that_all_stay_change_nothing() -> None:
    net = network()
    kept = torch.ones(3, 2, 2)
    torch.testing.assert_close(net(video(), None, kept), net(video()))


def test_branches_that_are_left_out_are_not_in_the_answer() -> None:
    net = network()
    kept = torch.ones(3, 2, 2)
    kept[1] = 0  # this clip goes through no block at all
    features, _ = net(video(), None, kept)
    whole, _ = net(video())
    torch.testing.assert_close(features[[0, 2]], whole[[0, 2]])
    net.encoder.blocks = torch.nn.Sequential()
    torch.testing.assert_close(features[1], net(video())[0][1])


def test_every_parameter_has_a_gradient_though_nobody_takes_its_branch() -> None:
    net = network()
    net(video(), None, torch.zeros(3, 2, 2))[1].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_checkpointed_blocks_have_the_same_gradients() -> None:
    grads = []
    for checkpointing in (False, True):
        net = network()
        net.activation_checkpointing = checkpointing
        net(video(), torch.tensor([0.7, 1, 1]), torch.ones(3, 2, 2) * 1.1)[1].sum().backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads)


def test_mixup_mixes_pixels_with_the_other_end_of_the_batch() -> None:
    net = network()
    clips = video(2)
    mixed = clips[:1].float() * 0.75 + clips[1:].float() * 0.25
    alone = net.encoder.features(mixed.permute(0, 4, 1, 2, 3) / 255)
    features, _ = net(clips, torch.tensor([0.75, 1.0]))
    torch.testing.assert_close(features[:1], alone, rtol=1e-4, atol=1e-5)


def test_tokens_that_are_left_out_are_not_seen() -> None:
    net, clips = network(), video(2)
    seen = torch.arange(32).expand(2, -1) % 3 > 0
    features, _ = net(clips, None, None, seen)
    tokens = net.encoder.trunk(clips.permute(0, 4, 1, 2, 3), ~seen)
    torch.testing.assert_close(features, net.encoder.norm(tokens.mean(dim=1)))
    mixed, _ = net(clips, torch.tensor([0.0, 1.0]), None, seen)
    torch.testing.assert_close(mixed[0], features[1], rtol=1e-4, atol=1e-5)


def test_cutmix_pastes_a_rectangle() -> None:
    clips = video(2)
    pasted = paste(clips, torch.tensor([[4, 8, 20, 16], [0, 0, 0, 0]]))
    assert (pasted[0, :, 8:16, 4:20] == clips[1, :, 8:16, 4:20]).all()
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[8:16, 4:20] = False
    assert (pasted[0, :, outside] == clips[0, :, outside]).all()
    assert (pasted[1] == clips[1]).all()


@pytest.mark.parametrize("part", ["full", "head", "layernorm", "lora"])
def test_what_learns(part: str) -> None:
    net = network()
    choose_learning(net, part, (2, 4.0), seed=0)  # type: ignore[arg-type]
    net(video())[1].square().sum().backward()
    expected = {
        "full": lambda name: True,
        "head": lambda name: name.startswith("head."),
        "layernorm": lambda name: "norm" in name or name.startswith("head."),
        "lora": lambda name: name.endswith((".up", ".down")) or name.startswith("head."),
    }[part]
    for name, parameter in net.named_parameters():
        assert (parameter.grad is not None) == expected(name), name


def test_rates_fall_from_layer_to_layer_and_vectors_do_not_decay() -> None:
    net = network()
    groups = list(parameter_groups(net, net.encoder.config.depth, 0.5))
    of = {id(p): group for group in groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        group = of[id(parameter)]
        layer = 0 if "embedding" in name else 3
        if "blocks." in name:
            layer = 1 + int(name.split(".")[2])
        assert group[FACTOR] == 0.5 ** (3 - layer), name
        assert group.get("weight_decay", 1) == (0 if parameter.ndim < 2 else 1), name


@given(st.integers(1, 24), st.floats(0, 0.9))
def test_drop_rates_rise_from_nothing(depth: int, most: float) -> None:
    rates = drop_rates(depth, most)
    assert len(rates) == depth
    assert rates[0] == 0
    assert rates == sorted(rates)
    assert depth == 1 or rates[-1] == pytest.approx(most, abs=1e-6)


def test_the_loss_is_monitored_where_the_metric_is_not_defined() -> None:
    assert monitor_of(BINARY, np.array([[0.0], [1.0]])) == Monitor("val_auc", "max")
    assert monitor_of(BINARY, np.array([[1.0], [1.0]])) == Monitor("val_loss", "min")
    ordinal = Target("ordinal", ("level",), ("1", "2", "3"))
    assert monitor_of(ordinal, np.array([[0.0], [1.0], [2.0]])) == Monitor("val_mae", "min")


def test_answers_to_a_video_are_means_over_its_windows() -> None:
    rows, answers = mean_by_row(np.array([4, 2, 4]), np.array([[1.0], [5.0], [2.0]]))
    assert rows.tolist() == [2, 4]
    assert answers.tolist() == [[5.0], [1.5]]
