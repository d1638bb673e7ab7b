"""The loss of associative embedding: known values, its definition, all that its two forms are used for."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from src.errors import UserError
from src.extensions import AE
from src.extensions.AE.build import NAME, load
from src.losses import associative_embedding as module
from src.losses.associative_embedding import associative_embedding, vectorised

# steps of two processes; the fault that they look for came at random, so that more of them say more
STEPS = 2000


def in_loops(tags: Tensor, cells: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, one number after the other."""
    pulls, pushes = [], []
    for image in range(len(tags)):
        people = []
        for person in range(cells.shape[1]):
            joints = labelled[image, person].nonzero().flatten().tolist()
            at = [(joint, *cells[image, person, joint].tolist()) for joint in joints]
            if at:
                people.append(torch.stack([tags[image, :, joint, y, x] for joint, x, y in at]))
        means = [person.mean(0) for person in people]
        pull = [(person - mean).square().mean() for person, mean in zip(people, means, strict=True)]
        pairs = [
            torch.exp(-(a - b).square().sum()) for index, a in enumerate(means) for b in means[index + 1 :]
        ]
        zero = tags.sum() * 0
        pulls.append(torch.stack(pull).mean() if pull else zero)
        pushes.append(torch.stack(pairs).mean() / 2 if pairs else zero)
    return torch.stack(pulls), torch.stack(pushes)


def draw(
    images: int, people: int, joints: int, size: int, side: int = 9, share: float = 0.7, slots: int = 30
) -> tuple[Tensor, Tensor, Tensor]:
    """Tags in float64, cells, and who is labelled: up to `people` in each image, `share` of their joints."""
    torch.manual_seed(0)
    tags = 2 * torch.randn(images, size, joints, side, side + 2, dtype=torch.float64)
    cells = torch.randint(side, (images, slots, joints, 2))
    labelled = torch.rand(images, slots, joints) < share
    labelled[:, people:] = False
    return tags, cells, labelled


def row(*people: tuple[int, ...], size: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of one row of 32 cells with tags 0, 0.1, …, 3.1, and in a second dimension 3.1, …, 0; and people
    by the cells of their joints, of which there are two."""
    line = torch.arange(32, dtype=torch.float64) / 10
    maps = torch.stack([line, 3.1 - line])[:size]
    tags = maps[None, :, None, None].repeat(1, 1, 2, 1, 1)
    cells = torch.zeros(1, len(people), 2, 2, dtype=torch.int64)
    labelled = torch.zeros(1, len(people), 2, dtype=torch.bool)
    for person, places in enumerate(people):
        cells[0, person, : len(places), 0] = torch.tensor(places)
        labelled[0, person, : len(places)] = True
    return tags, cells, labelled


@pytest.mark.parametrize(
    ("people", "size", "pull", "push"),
    [
        ([(3, 22), (10, 30)], 1, 0.95125, 0.284891),
        ([(3, 22), (10, 30), (5,)], 1, 0.634167, 0.207494),
        ([(3, 22), (10, 30), (5,)], 2, 0.634167, 0.110069),
        ([(3, 22)], 1, 0.9025, 0.0),
        ([(5,)], 1, 0.0, 0.0),
    ],
)
def test_values_known_from_published_code(ae_form, people, size, pull, push):
    found = associative_embedding(*row(*people, size=size))
    torch.testing.assert_close(torch.cat(found), torch.tensor([pull, push]).double(), rtol=0, atol=1e-6)


def test_gradient_known_from_published_code(ae_form):
    tags, cells, labelled = row((3, 22), (10, 30))
    pull, push = associative_embedding(tags.requires_grad_(), cells, labelled)
    (gradient,) = torch.autograd.grad((pull + push).sum(), tags)
    known = {(0, 3): -0.261331, (1, 22): 0.688669, (0, 10): -0.713669, (1, 30): 0.286331}
    for (joint, x), value in known.items():
        assert gradient[0, 0, joint, 0, x].item() == pytest.approx(value, abs=1e-6)
    assert gradient.count_nonzero() == 4 and gradient.sum().item() == pytest.approx(0, abs=1e-12)


CASES = {
    "several people": dict(images=3, people=5, joints=4, size=1),
    "two dimensions": dict(images=2, people=5, joints=4, size=2),
    "three dimensions": dict(images=2, people=5, joints=4, size=3),
    "nobody": dict(images=2, people=0, joints=4, size=1),
    "no slots": dict(images=2, people=0, joints=4, size=2, slots=0),
    "no images": dict(images=0, people=3, joints=4, size=1),
    "one person": dict(images=2, people=1, joints=4, size=1, share=1.1),
    "one joint each": dict(images=2, people=6, joints=1, size=2, share=1.1),
    "few joints": dict(images=8, people=4, joints=3, size=1, share=0.2),
    "30 people": dict(images=2, people=30, joints=17, size=1, side=32),
    "several people on a cell": dict(images=2, people=30, joints=3, size=2, side=2),
    "one cell": dict(images=1, people=4, joints=2, size=1, side=1),
}


# float32: results are rounded once, sums over people on the same cell once more each
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forms_agree_with_the_definition(ae_form, case, dtype, tolerance):
    tags, cells, labelled = draw(**case)
    tags = tags.to(dtype)
    weights = torch.rand(2, len(tags), dtype=torch.float64)  # not the same for all images, nor both terms

    def learn(loss, tags):
        tags = tags.clone().requires_grad_()
        terms = loss(tags, cells, labelled)
        total = sum((term * weight).sum() for term, weight in zip(terms, weights, strict=True))
        return (*terms, *torch.autograd.grad(total, tags))

    if len(tags):
        expected = learn(in_loops, tags.double())
    else:
        expected = torch.zeros(0), torch.zeros(0), torch.zeros_like(tags)
    for found, right in zip(learn(associative_embedding, tags), expected, strict=True):
        assert found.dtype == dtype
        largest = right.abs().max().item() if right.numel() else 0
        torch.testing.assert_close(found.double(), right.double(), rtol=tolerance, atol=tolerance * largest)


def test_tags_that_are_large_and_alike_lose_nothing(ae_form):
    tags, cells, labelled = draw(2, 4, 3, 1)
    near = (tags * 1e-2 + 100).float()
    for found, right in zip(
        associative_embedding(near, cells, labelled), in_loops(near.double(), cells, labelled), strict=True
    ):
        torch.testing.assert_close(found.double(), right, rtol=1e-6, atol=0)


def test_gradient_in_float64(ae_form):
    tags, cells, labelled = draw(2, 4, 3, 2, side=3, slots=5)
    tags.requires_grad_()
    assert torch.autograd.gradcheck(lambda tags: associative_embedding(tags, cells, labelled), tags)


def test_without_people_zeros_are_in_the_graph(ae_form):
    tags, cells, labelled = draw(2, 0, 3, 1)
    pull, push = associative_embedding(tags.requires_grad_(), cells, labelled)
    assert pull.tolist() == push.tolist() == [0, 0]
    for term in (pull, push):
        (gradient,) = torch.autograd.grad(term.sum(), tags, retain_graph=True)
        assert not gradient.any()


def test_either_term_may_be_left_out(ae_form):
    tags, cells, labelled = draw(2, 4, 3, 1)
    terms = associative_embedding(tags.requires_grad_(), cells, labelled)
    parts = [torch.autograd.grad(term.sum(), tags, retain_graph=True)[0] for term in terms]
    (both,) = torch.autograd.grad(sum(terms).sum(), tags)
    torch.testing.assert_close(parts[0] + parts[1], both)
    assert all(part.any() for part in parts)


def test_what_is_not_labelled_is_not_read(ae_form):
    tags, cells, labelled = draw(2, 4, 3, 1, slots=6)
    expected = associative_embedding(tags, cells, labelled)
    wild = torch.where(labelled[..., None], cells, torch.tensor([-(2**62), 2**40]))
    torch.testing.assert_close(associative_embedding(tags, wild, labelled), expected, rtol=0, atol=0)
    unread = torch.full_like(tags, torch.nan)
    for image, person, joint in labelled.nonzero().tolist():
        x, y = cells[image, person, joint].tolist()
        unread[image, :, joint, y, x] = tags[image, :, joint, y, x]
    torch.testing.assert_close(associative_embedding(unread, cells, labelled), expected, rtol=0, atol=0)


def layouts() -> dict[str, Tensor]:
    """The same tags, laid out in memory in several ways."""
    tags = draw(2, 5, 4, 2)[0].float()
    output = torch.cat([torch.randn(2, 4, 9, 11), tags.flatten(1, 2)], 1)  # heatmaps, then tags
    last = output.to(memory_format=torch.channels_last)
    wide = torch.randn(2, 2, 4, 20, 40)
    wide[..., 1:19:2, 2:35:3] = tags
    return {
        "of an output": output[:, 4:].unflatten(1, (2, 4)),
        "of an output, channels last": last[:, 4:].unflatten(1, (2, 4)),
        "transposed": tags.transpose(3, 4).contiguous().transpose(3, 4),
        "with gaps": wide[..., 1:19:2, 2:35:3],
        "turned about": tags.permute(4, 2, 0, 3, 1).contiguous().permute(2, 4, 1, 3, 0),
    }


@pytest.mark.parametrize("name", layouts())
def test_maps_may_lie_in_memory_as_they_like(ae_form, name):
    tags, cells, labelled = draw(2, 5, 4, 2)
    results = []
    for maps in (tags.float(), layouts()[name]):
        maps = maps.detach().requires_grad_()
        pull, push = associative_embedding(maps, cells, labelled)
        results.append((pull, push, *torch.autograd.grad((pull + push).sum(), maps)))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("ae_form", ["extension"], indirect=True)
def test_the_gradient_of_channels_last_maps_is_channels_last(ae_form):
    tags, cells, labelled = draw(2, 5, 4, 1)
    maps = tags[:, 0].to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(associative_embedding(maps[:, None], cells, labelled)[0].sum(), maps)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_computed_in_float32(ae_form, dtype, autocast):
    tags, cells, labelled = draw(2, 5, 4, 2)
    rounded = tags.to(dtype).requires_grad_()
    exact = rounded.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = associative_embedding(rounded, cells, labelled)
    expected = associative_embedding(exact, cells, labelled)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(sum(found).sum(), rounded)
    assert gradient.dtype == dtype
    torch.testing.assert_close(
        gradient, torch.autograd.grad(sum(expected).sum(), exact)[0].to(dtype), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("autocast", [False, True])
def test_network_and_loss_compile_into_one_graph(ae_form, autocast):
    torch.manual_seed(0)
    _, cells, labelled = draw(2, 3, 4, 2, slots=5)
    network = nn.Conv2d(3, 12, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 9, 11).to(memory_format=torch.channels_last)

    def learn(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            tags = network(images)[:, 4:].unflatten(1, (2, 4))
            return sum(term.mean() for term in associative_embedding(tags, cells, labelled))

    torch.compiler.reset()
    compiled = torch.compile(learn, backend="aot_eager", fullgraph=True)
    results = []
    for form in (learn, compiled):
        value = form(images)
        results.append((value, *torch.autograd.grad(value, list(network.parameters()))))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("ae_form", ["extension"], indirect=True)
def test_operator_is_registered_soundly(ae_form):
    for dtype in (torch.float32, torch.float64):
        tags, cells, labelled = draw(2, 3, 4, 2, slots=5)
        tags = tags.to(dtype).requires_grad_()
        torch.library.opcheck(module._fused, (tags, cells, labelled))
    pull, push, slopes = module._fused(tags.detach(), cells, labelled)
    torch.library.opcheck(module._gradient, (tags.detach(), cells, labelled, pull, push, slopes))
    with torch.autocast("cpu", torch.bfloat16):
        pull, _, _ = torch.ops.pose.associative_embedding(tags.bfloat16(), cells, labelled)
    assert pull.dtype == torch.float32


@pytest.mark.parametrize("ae_form", ["extension"], indirect=True)
def test_operator_checks_what_it_hands_over(ae_form):
    tags, cells, labelled = draw(2, 3, 4, 1)
    with pytest.raises(TypeError, match="float32 or float64"):
        torch.ops.pose.associative_embedding(tags.bfloat16(), cells, labelled)
    for x, y in ((-1, 0), (0, -1), (11, 0), (0, 9), (2**62, 2**62)):
        outside = cells.clone()
        outside[1, 0, labelled[1, 0].nonzero()[0, 0]] = torch.tensor([x, y])
        with pytest.raises(IndexError, match="outside of its 9 x 11 map"):
            associative_embedding(tags, outside, labelled)


def test_shapes_and_types_are_checked(ae_form):
    tags, cells, labelled = draw(2, 3, 4, 1)
    for wrong in (
        (tags[0], cells, labelled),
        (tags[:1], cells, labelled),
        (tags[:, :, :3], cells, labelled),
        (tags, cells[..., :1], labelled),
        (tags, cells[:, :4], labelled),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            associative_embedding(*wrong)
    for types in ((int, int, bool), (float, float, bool), (float, int, int)):
        wrong = (part.to(kind) for part, kind in zip((tags, cells, labelled), types, strict=True))
        with pytest.raises(TypeError, match="int64 and bool"):
            associative_embedding(*wrong)


def test_threads_do_not_disturb_one_another(ae_form):
    batches = [draw(2, people, 5, 1, side=16) for people in (0, 1, 5, 30)] * 8

    def learn(batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        tags = batch[0].clone().requires_grad_()
        terms = associative_embedding(tags, *batch[1:])
        return (*terms, *torch.autograd.grad(sum(terms).sum(), tags))

    alone = [learn(batch) for batch in batches]
    with ThreadPoolExecutor(8) as threads:
        for found, expected in zip(threads.map(learn, batches), alone, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_nothing_in_the_plain_form_waits_for_values():
    """Tensors without values raise where one is asked for: `.item()`, `nonzero`, a boolean index."""
    tags, cells, labelled = (tensor.to("meta") for tensor in draw(2, 3, 4, 2))
    pull, push = vectorised(tags.requires_grad_(), cells, labelled)
    (gradient,) = torch.autograd.grad((pull + push).sum(), tags)
    assert gradient.shape == tags.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_nothing_is_waited_for_and_values_are_the_same():
    tags, cells, labelled = draw(2, 5, 4, 2)
    on_gpu = [tensor.cuda() for tensor in (tags, cells, labelled)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        pull, push = associative_embedding(on_gpu[0].requires_grad_(), *on_gpu[1:])
        (gradient,) = torch.autograd.grad((pull + push).sum(), on_gpu[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tags.requires_grad_()
    expected = vectorised(tags, cells, labelled)
    torch.testing.assert_close((pull.cpu(), push.cpu()), expected)
    torch.testing.assert_close(gradient.cpu(), torch.autograd.grad(sum(expected).sum(), tags)[0])


def test_says_once_which_form_computes(ae_form, capsys):
    module._say_once.cache_clear()
    batch = draw(1, 2, 3, 1)
    associative_embedding(*batch)
    associative_embedding(*batch)
    said = capsys.readouterr().err.splitlines()
    words = {"plain": "plain PyTorch (POSE_AE_BACKEND is plain)", "extension": "compiled extension (built"}
    assert len(said) == 1 and words[ae_form] in said[0]


@pytest.mark.parametrize("ae_form", ["extension"], indirect=True)
def test_the_extension_cannot_be_forced_elsewhere(ae_form):
    with pytest.raises(UserError, match="on the CPU, not on meta"):
        associative_embedding(*(tensor.to("meta") for tensor in draw(1, 2, 3, 1)))


# Two processes: images with 0 to 30 people, unevenly spread.

WORLD, LOCAL_IMAGES, JOINTS, SIDE = 2, 2, 5, 12


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, JOINTS, 3, padding=1)
    return nn.Sequential(*layers).double()


def uneven_batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images, cells, labels of all processes: one often has nobody where the other one has a crowd."""
    random = torch.Generator().manual_seed(step)
    count = WORLD * LOCAL_IMAGES
    images = torch.randn(count, 3, SIDE, SIDE, generator=random, dtype=torch.float64)
    cells = torch.randint(SIDE, (count, 30, JOINTS, 2), generator=random)
    people = torch.randint(31, (count,), generator=random)
    empty = int(torch.randint(WORLD + 1, (), generator=random))  # this process, or none
    people[empty * LOCAL_IMAGES : (empty + 1) * LOCAL_IMAGES] = 0
    labelled = torch.rand(count, 30, JOINTS, generator=random) < 0.5
    return images, cells, labelled & (torch.arange(30) < people[:, None])[..., None]


def train(network: nn.Module, mine: slice, steps: int) -> Tensor:
    """Steps on the part of each batch that is mine; their losses, in float64."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    losses = []
    for step in range(steps):
        images, cells, labelled = (part[mine] for part in uneven_batch(step))
        terms = associative_embedding(network(images)[:, None], cells, labelled)
        loss = sum(term.mean() for term in terms)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def train_as_one_of_two(rank: int, folder: Path, built: str | None, steps: int) -> None:
    torch.set_num_threads(1)
    if built is not None:
        sys.modules[NAME] = load(Path(built))
    rendezvous = f"file://{folder / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=WORLD)
    network = DistributedDataParallel(tiny_network())
    losses = train(network, slice(rank * LOCAL_IMAGES, (rank + 1) * LOCAL_IMAGES), steps)
    torch.save(losses, folder / f"losses{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without distributed training")
def test_two_processes_do_not_hang_and_learn_what_one_learns(ae_form, tmp_path):
    extension: ModuleType | None = AE.choose().module
    arguments = (tmp_path, extension and extension.__file__, STEPS)
    processes = torch.multiprocessing.spawn(train_as_one_of_two, arguments, WORLD, join=False)
    deadline = time.monotonic() + 600 + STEPS
    while not processes.join(timeout=1):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            pytest.fail(f"the two processes hang: {STEPS} steps take more than ten minutes and 1 s a step")
    both = torch.stack([torch.load(tmp_path / f"losses{rank}.pt") for rank in range(WORLD)])
    alone = train(tiny_network(), slice(None), STEPS)
    # float64, the same numbers added in another order
    torch.testing.assert_close(both.mean(0), alone, rtol=1e-9, atol=1e-12)
