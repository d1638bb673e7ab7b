"""The loop around the step of a task: epochs, logs, validation, checkpoints, interruptions.

A task gives `fit` one function that learns from a batch and one that validates; everything between them is
here, the same for all tasks.
"""

import math
import os
import signal
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from src.datasets.crops import Batch, Samples, in_step, load, readable
from src.errors import UserError
from src.models.checkpoint import load_weights
from src.models.layers import PoseNetwork
from src.utils import distributed
from src.utils.command import note
from src.utils.device import describe, to_device
from src.utils.experiment import Experiment, Row
from src.utils.files import write_json
from src.utils.optimization import learning_rate
from src.utils.options import BEST, NEWEST
from src.utils.processes import is_main, leave, own_share, processes
from src.utils.progress import Progress, clock
from src.utils.words import counted

SLOW_EPOCH_SECONDS = 1800.0
SAME_SIGNAL_SECONDS = 1.0
ADDED = ("discriminator", "adversary")  # weights and parts that a run may take up on the way
ADVICE = "a lower --lr, --clip or --amp none"  # where training goes wrong
LAPTOP_HINT = "a small network learns on a CPU with --config recipes/laptop.yaml"


class Stateful(Protocol):
    """A part of a run that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Accuracy(Protocol):
    """Counts of joints found, gathered on the device over an epoch; `joined` are those of all processes."""

    def reset(self) -> None: ...

    def joined(self) -> "Accuracy": ...

    def mean(self) -> float: ...

    def per_joint(self) -> Tensor: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass
class Position:
    """How far a run has come: `seen` people, `seconds` of training, validations without gain (`stale`).

    logged: the iteration of the newest row of log.csv.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seen: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: float = 0.0
    stale: int = 0
    logged: int = 0


class Totals:
    """Sums of the losses of an epoch, on the device, and the first iteration where something was wrong."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._exact = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPU has no float64
        self.reset()

    def reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.flags: dict[tuple[str, str], Tensor] = {}

    def add(self, losses: dict[str, Tensor], step: int) -> None:
        """The losses of iteration `step` (from 1), scalars on the device."""
        self.count += 1
        for name, loss in losses.items():
            value = loss.detach().to(self._exact)
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.flag("the loss is not finite", ~torch.isfinite(value), step)

    def flag(self, what: str, bad: Tensor, step: int, advice: str = ADVICE) -> None:
        """Note for `check` that something was wrong in iteration `step` (from 1), if `bad` is true.

        advice: what may help.
        """
        none = torch.zeros((), dtype=torch.int64, device=self.device)
        first = self.flags.get((what, advice), none)
        self.flags[what, advice] = torch.where(bad & (first == 0), step, first)

    def means(self) -> dict[str, float]:
        """The mean of each loss; reads the device."""
        return {name: float(total) / self.count for name, total in self.sums.items()}

    def check(self) -> None:
        """UserError if a loss was not finite, or something else was wrong; reads the device."""
        for (what, advice), first in self.flags.items():
            if step := int(first):
                raise _went_wrong(what, step, advice)

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums = {name: total.to(self.device, self._exact) for name, total in state["sums"].items()}
        self.count = state["count"]


def _went_wrong(what: str, step: int, advice: str = ADVICE) -> UserError:
    kept = f"the last good {NEWEST} is kept"
    return UserError(f"{what} at iteration {step}: stopped, {kept}; {advice} may help")


class Run:
    """What moves during training, and its way into a checkpoint and back.

    head: what every checkpoint says of its network (src.models.checkpoint.describe).
    weights: the modules whose weights are kept, "model" first; "ema" is the average that is used where it is.
    parts: what else has a state, by the name under which a checkpoint holds it.
    stop: whether a signal has asked for the end.
    left_out: messages of the pictures that could not be read in this epoch.
    best_by: the figure of validation by which best.pth is chosen, "accuracy" or another one between 0 and 1.
    """

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device,
        accuracy: Accuracy,
        head: dict[str, Any],
        weights: dict[str, PoseNetwork],
        parts: dict[str, Stateful],
        best_by: str = "accuracy",
    ) -> None:
        self.experiment, self.options, self.device = experiment, experiment.options, device
        self.position, self.totals, self.accuracy = Position(), Totals(device), accuracy
        self.head, self.weights, self.best_by = head, weights, best_by
        self.stop, self.left_out = StopRequest(), list[str]()
        self.parts: dict[str, Stateful] = {**parts, "totals": self.totals, "accuracy": accuracy}
        if experiment.state is not None:
            self._restore(experiment.state)

    def _restore(self, state: dict[str, Any]) -> None:
        for name, network in self.weights.items():
            if name in ADDED and name not in state:
                note(f"the checkpoint has no {name}: it starts anew")
                continue
            try:  # an average that starts now starts from the weights
                load_weights(network, state, strict=True, entry=name if name in state else "model")
            except UserError as error:
                raise UserError(f"{network.arch}: {error}") from None
        for name, value in self.head["config"].items():
            if state["config"].get(name, value) != value:
                raise UserError(
                    f"the network of the checkpoint has {name} {state['config'][name]}, not {value}:"
                    " --load-model starts anew from its weights"
                )
        for name, part in self.parts.items():
            if name in ADDED and name not in state:
                continue
            if name not in state:
                raise UserError(
                    f"the checkpoint lacks {name}: it is not the newest of a {self.experiment.task} run"
                )
            part.load_state_dict(state[name])
        self.position = Position(**state["position"])
        if self.options.branch:  # the branch looks for a best of its own
            self.position.best, self.position.best_epoch, self.position.stale = -1.0, 0.0, 0
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)

    def networks(self) -> dict[str, Any]:
        """A checkpoint for use: weights, and what they are of."""
        return self.head | {name: network.state_dict() for name, network in self.weights.items()}

    def state(self) -> dict[str, Any]:
        """All that the run needs to go on; all processes must ask."""
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {**self.networks(), **parts, "position": asdict(self.position), "random": random}

    def figures(self) -> dict[str, Any]:
        """What the run has reached, for `--json`: the best validation, and the newest row of log.csv."""
        best = {f"best_{self.best_by}": self.position.best, "best_epoch": self.position.best_epoch}
        measured = best if self.position.best >= 0 else dict.fromkeys(best)
        return {"exp": self.options.exp, **measured, "last": self.experiment.last_epoch()}

    def save(self) -> None:
        """The newest checkpoint; UserError if a loss or a weight is not finite, for it would be of no use."""
        self.check()
        self.experiment.save(NEWEST, self.state())
        distributed.meet()  # nobody ends, or fails, while the main process writes

    def check(self) -> None:
        """UserError if a loss or a weight is not finite; reads the device."""
        self.totals.check()
        for network in self.weights.values():
            if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
                raise _went_wrong("a weight is not finite", self.position.step)

    def skips_bad_images(self) -> bool:
        """Whether pictures that cannot be read are left out now: as the options say, else after the first
        epoch and its validation. A picture that breaks later does not end a run of days.
        """
        asked: bool | None = self.options.skip_bad_images
        return self.position.epoch > 0 if asked is None else asked

    @property
    def end(self) -> str:
        """The option that has ended the run, "" while it goes on."""
        options, position = self.options, self.position
        if position.epoch >= options.epochs:
            return f"--epochs {options.epochs}"
        if self.out_of_iters and position.logged == position.step:  # else what was learnt is to be validated
            return f"--max-iters {options.max_iters}"
        if 0 < options.early_stop <= position.stale:
            return f"--early-stop {options.early_stop}"
        return ""

    @property
    def finished(self) -> bool:
        return bool(self.end)

    @property
    def out_of_iters(self) -> bool:
        return 0 < self.options.max_iters <= self.position.step


class StopRequest:
    """Ctrl-C, termination, a closed terminal (not under nohup): all processes end after the same step.

    A second signal ends at once. But `timeout` sends the first one twice, and each of several processes may
    get it from the batch system and from torchrun: so it counts only after some time, but for Ctrl-C.

    came: the signal that this process has got, 0 for none.
    agreed: the signal for which all processes stop, as `late` or `now` have found.
    """

    def __init__(self) -> None:
        self.came = self.agreed = 0
        self._since = 0.0
        self._before: dict[int, Any] = {}
        self._agreement = distributed.Agreement()

    def __enter__(self) -> "StopRequest":
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _: Any) -> None:
        if not self.came:
            self.came, self._since = number, time.monotonic()
            alone = processes() == 1
            if alone:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # which ends in the middle of a step, too
            _announce(number, alone)
        elif time.monotonic() - self._since > SAME_SIGNAL_SECONDS:
            self.__exit__()
            signal.raise_signal(number)

    def late(self) -> bool:
        """Whether to stop, asked once a step; what other processes have got is known a step later."""
        self.agreed = max(self.agreed, self._agreement.late(self.came))
        return self.agreed > 0

    def now(self) -> bool:
        """Whether to stop; waits for all processes."""
        self.agreed = max(self.agreed, self._agreement.now(self.came))
        return self.agreed > 0

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _announce(number: int, alone: bool) -> None:
    """Say that a signal has been understood: a step can take long. print is not for handlers of signals."""
    again = "; Ctrl-C again ends at once" if alone else ""
    if is_main():
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"{signal.Signals(number).name}: stopping after this iteration{again}\n".encode())


def iterations(options: Namespace, people: int) -> int:
    """Iterations of an epoch: `--iters`, or once through the data."""
    return options.iters or -(-people // options.batch_size)


def carry_out(
    run: Run,
    samples: Samples,
    valid_samples: Samples,
    speed: str,
    learn: Callable[[Batch, float], dict[str, Tensor]],
    validate: Callable[[], Row],
    predict: Callable[[], None],
) -> None:
    """Train as `fit` says, unless the run is finished; then predictions, figures and report, as asked for.

    speed: the line that says what makes the run fast. predict(): write the final predictions.
    """
    options = run.options
    if options.report:
        from src.utils.report.write import require_plotly, write_run_report  # which read what a run writes

        require_plotly()  # now, and not after days of training
    if run.finished and options.resume:
        note(f"experiment {options.exp} is finished ({run.end}); a larger number goes on")
    else:
        if run.finished and options.branch:
            note(f"{options.branch} has learnt as long already ({run.end}); a larger number goes on")
        _introduce(run, samples, valid_samples)
        note(speed)
        fit(run, samples, learn, validate)
    if is_main():
        if options.final_predictions:
            predict()
        if options.json:
            write_json(options.json, run.figures())
        if options.report:
            write_run_report(run.experiment.folder, options)


def _introduce(run: Run, samples: Samples, valid_samples: Samples) -> None:
    """Tell the user what is trained, on what, and how long an epoch is."""
    iters, batch_size = iterations(run.options, samples.drawn), run.options.batch_size
    for network in (network for name, network in run.weights.items() if name != "ema"):
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        sizes = ", ".join(f"{key} {value}" for key, value in network.config.items())
        note(f"{network.arch} ({sizes}): {millions:.2f} M parameters on {_hardware(run.device)}")
    note(
        f"{samples.people.name}: {_counted(samples)}, {iters:,} iterations of {batch_size} an"
        f" epoch; {valid_samples.people.name}: {_counted(valid_samples)}"
    )


def _counted(samples: Samples) -> str:
    return counted(len(samples), *samples.units)


def _hardware(device: torch.device) -> str:
    words = describe(device)
    return f"{processes()} processes, the first on {words}" if processes() > 1 else words


def fit(
    run: Run,
    samples: Samples,
    learn: Callable[[Batch, float], dict[str, Tensor]],
    validate: Callable[[], Row],
) -> None:
    """Train until the options say stop.

    learn(batch, rate): one iteration on a batch on the device; returns its losses, detached scalars. Of
        several processes each learns from its share, and the mean of their losses is that of the batch.
    validate(): the row of figures that validation adds to log.csv, that of `run.best_by` among them; of no
        use if a signal has come (`run.stop`).

    Raises UserError if a loss is not finite; SystemExit after a signal, with the checkpoint written.
    """
    options = run.options
    iters = iterations(options, samples.drawn)
    run.check()
    run.experiment.open(run.position.step, _hardware(run.device), run.state())
    batches = _timed(_batches(run, samples))
    with run.stop:
        while not run.finished:
            _train_epoch(run, batches, learn, iters)
            if not run.stop.now():
                _end_epoch(run, validate, iters)
                report_left_out(samples, distributed.joined(run.left_out))
                run.left_out.clear()
            if run.stop.now():
                _leave(run)
    if not (run.experiment.folder / BEST).exists():  # no epoch was asked for
        run.experiment.save(BEST, run.networks())


def _batches(run: Run, samples: Samples) -> Iterator[Batch]:
    """Of each batch from where the run stands the share of this process."""
    options = run.options
    stream = samples.stream(options.batch_size, options.seed, run.position.seen)
    shares = distributed.Shares(stream, options.batch_size)
    loader = load(samples, shares, options.workers, run.device)
    batches = readable(loader, run.skips_bad_images, run.left_out)
    return in_step(batches, own_share(options.batch_size)) if processes() > 1 else batches


def _train_epoch(
    run: Run,
    batches: Iterator[tuple[Batch, float]],
    learn: Callable[[Batch, float], dict[str, Tensor]],
    iters: int,
) -> None:
    """Iterations up to the end of the epoch, of the run, or to a signal."""
    position, options = run.position, run.options
    start, waited, first_step = time.monotonic(), 0.0, position.step
    window = Window(run)

    def status() -> str:
        elapsed = max(time.monotonic() - start, 1e-9)
        rate = (position.step - first_step) * options.batch_size / elapsed
        losses = " ".join(f"{name} {value:.4g}" for name, value in run.totals.means().items())
        accuracy = f"accuracy {_percent(run.accuracy.mean(), 1)}"  # of this process: others are not asked
        return f"{losses} {accuracy} {rate:.1f} images/s, {100 * waited / elapsed:.0f}% waiting for data"

    title = f"epoch {position.epoch + 1}/{options.epochs}"
    with Progress(title, iters, position.step_in_epoch) as progress:
        while position.step_in_epoch < iters and not (run.stop.late() or run.out_of_iters):
            begin = time.monotonic()
            batch, wait = next(batches)
            rate = _rate(run, iters)
            losses = distributed.means(learn(to_device(batch, run.device), rate))
            position.step += 1
            position.step_in_epoch += 1
            position.seen += batch["taken"] * processes()
            run.totals.add(losses, position.step)
            waited += wait
            if position.step % options.log_every == 0:
                run.totals.check()
                run.experiment.log_step(window.row(rate))
            if options.save_every and position.step % options.save_every == 0:
                run.save()
            position.seconds += time.monotonic() - begin
            if run.device.type == "cpu":
                run.totals.check()  # reading costs nothing there
                if position.step == first_step + 2:
                    _say_if_slow(time.monotonic() - begin, iters)
            progress.advance(status)
    run.totals.check()


def _rate(run: Run, iters: int, ahead: int = 0) -> float:
    """The learning rate of the next iteration, or of the one `ahead` (-1: the newest) of it."""
    position = run.position
    epoch = position.epoch + (position.step_in_epoch + ahead) / iters
    return learning_rate(run.options, epoch, position.step + ahead)


class Window:
    """Rows of steps.csv: means of the losses since the last one, and the accuracy of the epoch so far."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._mark()

    def _mark(self) -> None:
        self.count = self.run.totals.count
        self.sums = {name: float(total) for name, total in self.run.totals.sums.items()}

    def row(self, rate: float) -> Row:
        """The row of now; the next window starts here. Reads the device; all processes must ask."""
        run, position = self.run, self.run.position
        steps = run.totals.count - self.count
        losses = {n: (float(t) - self.sums.get(n, 0.0)) / steps for n, t in run.totals.sums.items()}
        self._mark()
        head = {"step": position.step, "epoch": position.epoch + 1, "seconds": position.seconds, "lr": rate}
        return {**head, **losses, "accuracy": run.accuracy.joined().mean()}


def _end_epoch(run: Run, validate: Callable[[], Row], iters: int) -> None:
    """Validate, log, keep the best, and save; an epoch cut short by --max-iters stays open for --continue.

    A signal breaks off the validation, and then nothing else is done: --continue begins with validating.
    """
    position, options, experiment = run.position, run.options, run.experiment
    whole = position.step_in_epoch >= iters
    epoch = position.epoch + 1 if whole else round(position.epoch + position.step_in_epoch / iters, 4)
    last = epoch >= options.epochs or run.out_of_iters
    row: Row = {
        "epoch": epoch,
        "step": position.step,
        "seconds": position.seconds,
        "lr": _rate(run, iters, ahead=-1),
        **{f"train_{name}": value for name, value in run.totals.means().items()},
        **accuracy_row("train", run.accuracy.joined(), run.head["skeleton"]["joints"]),
    }
    if validates(options, position.epoch + whole, last):
        row |= validate()
        if run.stop.now():
            return
    if whole:
        position.epoch, position.step_in_epoch = position.epoch + 1, 0
        run.totals.reset()
        run.accuracy.reset()
    if (reached := row.get(f"valid_{run.best_by}")) is not None:
        _keep_best(run, reached, epoch, whole)
    experiment.log_epoch(row)
    position.logged = position.step
    if run.finished and position.best < 0:  # nothing was validated: the newest is what there is
        experiment.save(BEST, run.networks())
    if whole and options.snapshot_every and position.epoch % options.snapshot_every == 0:
        experiment.save(f"snapshots/epoch_{position.epoch:04}.pth", run.networks())
    run.save()
    note(_summary(row, options.epochs))


def report_left_out(samples: Samples, messages: list[str]) -> None:
    """Say how many of the samples' pictures could not be read, if there are any."""
    if bad := dict.fromkeys(messages):
        what = f"{samples.people.name}: {counted(len(bad), *samples.units)} left out"
        note(f"{what}, as pictures cannot be read; the first: {messages[0]}")


def validates(options: Namespace, epoch: int, last: bool) -> bool:
    """Whether to validate after this epoch: every --valid-every epochs, and at the end."""
    return options.valid_every > 0 and (epoch % options.valid_every == 0 or last)


def _keep_best(run: Run, reached: float, epoch: float, whole: bool) -> None:
    """Save best.pth if it is the best so far, and count validations without gain.

    One within an epoch does not count: else a run in pieces (--max-iters) would lose patience earlier.
    """
    position, gain = run.position, run.options.early_stop_delta
    if reached >= position.best + gain:
        position.stale = 0
    elif whole:
        position.stale += 1
    if reached > position.best:
        position.best, position.best_epoch = reached, epoch
        run.experiment.save(BEST, run.networks() | {run.best_by: reached, "epoch": epoch})


def accuracy_row(split: str, accuracy: Accuracy, joints: Iterable[str]) -> Row:
    """The mean accuracy and that of each joint, by the names of log.csv."""
    each = accuracy.per_joint().tolist()
    names = [f"{split}_acc_{joint.replace(' ', '_')}" for joint in joints]
    return {f"{split}_accuracy": accuracy.mean(), **dict(zip(names, each, strict=True))}


def _summary(row: Row, epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"train loss {row['train_loss']:.4g}"]
    parts.append(f"accuracy {_percent(row['train_accuracy'])}")
    if "valid_loss" in row:
        parts.append(f"| valid loss {row['valid_loss']:.4g} accuracy {_percent(row['valid_accuracy'])}")
        parts += [f"AP {_percent(row['valid_ap'])}"] if "valid_ap" in row else []
    return " ".join([*parts, f"| lr {row['lr']:.3g}, {clock(row['seconds'])}"])


def _percent(share: float, digits: int = 2) -> str:
    """A dash where nobody was there to be found."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}%"


def _leave(run: Run) -> NoReturn:
    run.save()
    name = signal.Signals(run.stop.agreed).name
    note(f"{name}: stopped after iteration {run.position.step}, saved; -c {run.options.exp} goes on")
    leave()
    raise SystemExit(128 + run.stop.agreed)


def _say_if_slow(step_seconds: float, iters: int) -> None:
    """Tell who trains a large network on a CPU what to expect."""
    epoch = step_seconds * iters
    if epoch > SLOW_EPOCH_SECONDS:
        note(f"an epoch of {iters} iterations takes about {clock(epoch)} on this CPU; {LAPTOP_HINT}")


def _timed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    source = iter(batches)
    while True:
        start = time.monotonic()
        batch = next(source)
        yield batch, time.monotonic() - start
