"""Numbers with their nouns, for lines that people read."""


def counted(number: int, one: str = "person", several: str = "people") -> str:
    """The number and what it is of, such as "1 person" and "2,000 people"."""
    return f"{number:,} {one if number == 1 else several}"
