"""Several data sets as one to learn from: one after the other, in the joints of one skeleton."""

from collections.abc import Sequence

import numpy as np

from src.datasets.annotations import MASKED, People, Person
from src.datasets.skeletons import Skeleton, joint_map
from src.errors import UserError


class JoinedPeople:
    """The people of several sets in turn, each in the joints of `skeleton`, matched by name.

    Of a joint that a set does not annotate nothing is learnt from its people: it is MASKED, which is not the
    same as unlabelled. All else about a person (the box, the length of the metric) is as in the set.

    given: how often a person of each set is drawn in a pass through the data, 1 by default. With 0.5 every
    second one is, others in each pass; with 2 each is drawn twice.
    """

    def __init__(
        self, sets: Sequence[People], skeleton: Skeleton, given: Sequence[float] | None = None
    ) -> None:
        self.sets = list(sets)
        self.skeleton = skeleton
        self.name = " + ".join(people.name for people in self.sets)
        self._first = np.cumsum([0, *(len(people) for people in self.sets)])
        self._sources = [joint_map(people.skeleton, skeleton) for people in self.sets]
        for people, source in zip(self.sets, self._sources, strict=True):
            if (source < 0).all():
                raise UserError(
                    f"{people.name} has no joint of skeleton {skeleton.name}; it has"
                    f" {', '.join(people.skeleton.joints)}"
                )
        self.weights = None if given is None else self._weights(given)

    def _weights(self, given: Sequence[float]) -> np.ndarray:
        """How often each person (N,) is drawn, from what was given for each set."""
        if len(given) != len(self.sets):
            raise UserError(f"{len(given)} weights for {len(self.sets)} data sets ({self.name})")
        if not all(0 <= weight < np.inf for weight in given) or not sum(given):
            raise UserError(f"weights of data sets must be numbers from 0, one of them above 0, not {given}")
        return np.repeat(np.array(given, np.float64), np.diff(self._first))

    def __len__(self) -> int:
        return int(self._first[-1])

    def locate(self, index: int) -> tuple[People, int]:
        """The set that person `index` is of, and the place there."""
        number, place = self._place(index)
        return self.sets[number], place

    def person(self, index: int) -> Person:
        """Person `index`. The picture is not read yet."""
        number, place = self._place(index)
        person, source = self.sets[number].person(place), self._sources[number]
        known = source >= 0
        return person._replace(
            joints=np.where(known[:, None], person.joints[source], np.float32(0)),
            visible=np.where(known, person.visible[source], np.int8(MASKED)),
        )

    def _place(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        return number, index - int(self._first[number])
