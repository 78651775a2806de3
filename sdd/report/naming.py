"""Settings as people read them."""

import re


def noise_name(noise: str) -> str:
    """`symmetric-0.4` -> `40 % symmetric noise`; anything without a rate as it is."""
    named = re.fullmatch(r"(.+?)-(\d*\.?\d+(?:e-?\d+)?)", noise)
    return f"{100 * float(named[2]):g} % {named[1]} noise" if named else noise
