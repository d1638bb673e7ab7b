"""The loss of associative embedding, forward and backward, against a loop over people and joints."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from bench.harness import Case, Item, Options, Skipped
from src.extensions import AE
from src.losses.associative_embedding import associative_embedding, vectorised
from src.utils.device import choose_device

IMAGES, JOINTS, SIZE, SLOTS = 8, 17, 128, 30
GOALS = {2: (15, 12), 10: (80, 50), 30: (200, 130)}  # people: of the extension, of the vectorised form
PLAIN = "PyTorch, person by person, joint by joint"

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def cases(options: Options) -> Iterator[Item]:
    """The forms of the loss that the device has, for images with few and many people."""
    device = choose_device(options.device)
    fused = device.type == "cpu" and AE.choose().module is not None
    if not fused:
        why = AE.choose().why if device.type == "cpu" else "it computes on the CPU"
        yield Skipped("AE loss, extension", why)
    for people, (goal_fused, goal_vectorised) in GOALS.items():
        batch = Batch(people, device)
        forms: list[tuple[str, Loss, float]] = [("vectorised", vectorised, goal_vectorised)]
        if fused:
            forms.insert(0, ("extension", associative_embedding, goal_fused))
        for form, loss, goal in forms:
            batch.check(loss)
            name = f"AE loss, {IMAGES} images of {people} people, {form}"
            plain = partial(batch.learn, in_loops)
            yield Case(name, PLAIN, partial(batch.learn, loss), plain, goal if device.type == "cpu" else None)


class Batch:
    """Tag maps, and people all of whose joints are labelled."""

    def __init__(self, people: int, device: torch.device) -> None:
        random = torch.Generator().manual_seed(0)
        tags = torch.randn(IMAGES, 1, JOINTS, SIZE, SIZE, generator=random)
        self.tags = tags.to(device).requires_grad_()
        self.cells = torch.randint(SIZE, (IMAGES, SLOTS, JOINTS, 2), generator=random).to(device)
        self.labelled = torch.zeros(IMAGES, SLOTS, JOINTS, dtype=torch.bool, device=device)
        self.labelled[:, :people] = True

    def learn(self, loss: Loss) -> tuple[Tensor, Tensor]:
        """The mean over images of both terms, and its gradient by the maps."""
        value = sum(term.mean() for term in loss(self.tags, self.cells, self.labelled))
        assert isinstance(value, Tensor)
        (gradient,) = torch.autograd.grad(value, self.tags)
        if gradient.is_cuda:
            torch.cuda.synchronize(gradient.device)
        return value.detach(), gradient

    def check(self, loss: Loss) -> None:
        """Make sure that a form of the loss computes the same as the loop."""
        for ours, theirs in zip(self.learn(loss), self.learn(in_loops), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def in_loops(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """The loss as it is first written: tags fetched one by one, people stacked, pairs as a matrix."""
    terms = [
        _image_in_loops(*image)
        for image in zip(tags.flatten(2).transpose(1, 2), cells.tolist(), labelled.tolist(), strict=True)
    ]
    pull, push = zip(*terms, strict=True)
    return torch.stack(pull), torch.stack(push)


def _image_in_loops(
    tags: Tensor, cells: list[list[list[int]]], labelled: list[list[bool]]
) -> tuple[Tensor, Tensor]:
    """Pull and push of one image, tags (J * h * w, L)."""
    means: list[Tensor] = []
    pull = tags.new_zeros(())
    for person_cells, person_labelled in zip(cells, labelled, strict=True):
        found = [
            tags[(joint * SIZE + y) * SIZE + x]
            for joint, ((x, y), counts) in enumerate(zip(person_cells, person_labelled, strict=True))
            if counts
        ]
        if found:
            stacked = torch.stack(found)
            means.append(stacked.mean(0))
            pull = pull + (stacked - means[-1]).square().mean()
    people = len(means)
    if people == 0:
        return pull, pull
    if people == 1:
        return pull, tags.new_zeros(())
    mean = torch.stack(means)
    near = torch.exp(-(mean[:, None] - mean[None]).square().sum(2))
    return pull / people, (near.sum() - people) / 2 / (people * (people - 1))
