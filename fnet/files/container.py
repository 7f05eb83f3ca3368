"""What a damaged file is refused with."""


class CorruptFileError(ValueError):
    """A file that is damaged, or not of the kind that was asked for."""
