"""The probe as MARLIN's paper trains it: one linear layer on the mean feature, by Adam."""

from __future__ import annotations

import copy

import torch

from openmarlin.tasks.heads import LinearHead, make_head
from openmarlin.tasks.labels import Target
from openmarlin.tasks.losses import TargetLoss
from openmarlin.tasks.selection import (
    Examples,
    Fitted,
    Trial,
    best_of,
    check_examples,
)

_LR, _BETAS = 1e-4, (0.5, 0.9)
_FACTOR, _PATIENCE, _LAST_LR = 0.5, 7, 1e-6
_BATCH, _MAX_EPOCHS = 64, 2000  # the paper names neither


def fit_paper(train: Examples, val: Examples, target: Target, seed: int) -> Fitted:
    """Adam at 1e-4 (betas .5 and .9); the rate is halved when the training loss has not fallen for
    7 epochs, and below 1e-6 training ends. The epoch that does best on validation is kept.

    Raises:
        InputError: the training labels are all the same, or nothing can be chosen.
    """
    check_examples(train, target)
    generator = torch.Generator().manual_seed(seed)
    loss_of = TargetLoss.of(train.labels, target)
    x, x_val = torch.from_numpy(train.vectors), torch.from_numpy(val.vectors)
    head = _initial(x.shape[1], len(target.outputs), generator)
    optimiser = torch.optim.Adam(head.parameters(), _LR, _BETAS)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=_FACTOR, patience=_PATIENCE
    )
    trials: list[Trial] = []
    best, chosen = copy.deepcopy(head), 0
    for epoch in range(_MAX_EPOCHS):
        total = 0.0
        for places in torch.split(torch.randperm(len(x), generator=generator), _BATCH):
            optimiser.zero_grad()
            loss = loss_of(head(x[places]), places)
            torch.autograd.backward(loss)
            optimiser.step()
            total += float(loss.detach()) * len(places)
        plateau.step(total / len(x))
        with torch.no_grad():
            logits = (head(x_val) * loss_of.spread + loss_of.middle).double().numpy()
        trials.append(Trial.of({"epoch": epoch + 1}, logits, val.labels, target))
        if best_of([trials[chosen], trials[-1]], target):
            best, chosen = copy.deepcopy(head), epoch
        if optimiser.param_groups[0]["lr"] < _LAST_LR:
            break
    loss_of.in_units(best.linear)
    notes = []
    if len(trials) == _MAX_EPOCHS:
        notes.append(f"Training was stopped after {_MAX_EPOCHS} epochs, before its rate was spent.")
    return Fitted(best.eval(), trials, chosen, notes)


def _initial(width: int, n_outputs: int, generator: torch.Generator) -> LinearHead:
    """Weights as torch draws those of a linear layer, from a generator."""
    head = make_head({"kind": "linear", "width": width, "n_outputs": n_outputs})
    assert isinstance(head, LinearHead)
    bound = width**-0.5
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return head
