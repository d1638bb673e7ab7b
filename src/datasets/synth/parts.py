"""What drawings are made of, and can be made without, to see what each part is worth."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Parts:
    """Which parts a drawing has. Without one all others are as they were: they come from the same numbers."""

    cloth: bool = True  # folds, creases, patterns, and colours that vary over a surface
    head: bool = True  # face, hair and hats; without them front and back of it look the same
    bystanders: bool = True
    occluders: bool = True
    shadows: bool = True
    background: bool = True  # else it has one colour
    photo: bool = True  # what a camera and a file do to a picture

    def __str__(self) -> str:
        """The parts left out, such as "without head": empty where none is."""
        missing = [name for name in PARTS if not getattr(self, name)]
        return f"without {' '.join(missing)}" if missing else ""


PARTS = tuple(field.name for field in fields(Parts))
ALL_PARTS = Parts()
