"""What can go wrong with runs and records; each message is one line that says what to do."""


class Trouble(ValueError):
    """A run cannot go on; nothing that was computed is lost."""


class DamagedRecord(Trouble):
    """A file is not what was written: its checksum is wrong, or it cannot be read at all."""


class MissingRecord(Trouble):
    """There is no record yet."""
