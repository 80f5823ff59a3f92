"""What the machine says of its heat, power, memory and load; filled in below."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineReadings:
    """What the machine says; None where it does not say.

    Attributes:
        temperature_c: of its hottest zone, in degrees Celsius.
        throttled: why the firmware slows the processor down now; empty if it does not.
        battery_percent: charge of its batteries together, in percent.
        on_mains: whether a charger or the mains feeds it.
        memory_available_bytes: what a new program can have before others are pushed
            out or a limit of this process is reached.
        memory_limit_bytes: the most that this process and its children can ever have.
        processors: cores that this process may use, 0.5 for half the time of one.
        load: programs that ran or waited to run over the last minute, per core.
        notes: what could not be read although it is there, and why.
    """

    temperature_c: float | None = None
    throttled: tuple[str, ...] | None = None
    battery_percent: float | None = None
    on_mains: bool | None = None
    memory_available_bytes: int | None = None
    memory_limit_bytes: int | None = None
    processors: float | None = None
    load: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def on_charger(self) -> bool:
        """Whether it has a battery and something feeds it."""
        return self.battery_percent is not None and self.on_mains is True
