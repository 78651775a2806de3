"""What one training took, in energy and CO2; or why nobody knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

JOULES_PER_KWH = 3.6e6


class EnergyError(Exception):
    """No energy can be stated; the message is the reason that the reading gives."""


@dataclass(frozen=True)
class EnergyReading:
    """What one training took. Where it is unknown, the numbers are None (never 0), reason says why.

    Per metered device: power_w * seconds * share * pue / 3.6e6 = energy_kwh.
    """

    energy_kwh: float | None  # this job's share, PUE included
    co2_g: float | None  # energy_kwh * carbon_intensity
    method: str
    carbon_intensity: float | None  # g CO2 per kWh
    pue: float | None  # power usage effectiveness: the data centre's power over the computers'
    power_w: float | None  # mean power of the whole metered devices, summed, PUE not included
    share: float | None  # this job's part of the metered devices' energy, in (0, 1]
    seconds: float  # wall time inside the meter
    reason: str | None

    @classmethod
    def unknown(cls, reason: str, seconds: float) -> EnergyReading:
        return cls(None, None, "not measured", None, None, None, None, seconds, reason)

    def to_dict(self) -> dict[str, float | str | None]:
        return asdict(self)

    def after(self, earlier: EnergyReading) -> EnergyReading:
        """What both took: of a training that was interrupted and went on."""
        parts, seconds = (earlier, self), earlier.seconds + self.seconds
        for part in parts:
            if part.energy_kwh is None:
                return EnergyReading.unknown(f"in a part of the training, {part.reason}", seconds)
        whole = [p.power_w * p.seconds for p in parts]
        return replace(
            self,
            energy_kwh=earlier.energy_kwh + self.energy_kwh,
            co2_g=earlier.co2_g + self.co2_g,
            method=" and ".join(dict.fromkeys(p.method for p in parts)),
            power_w=sum(whole) / seconds,
            share=sum(p.share * j for p, j in zip(parts, whole, strict=True)) / sum(whole),
            seconds=seconds,
        )
