"""Numbers as people read them."""

PREFIXES = {1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1: "", 1e-3: "m", 1e-6: "u"}


def quantity(value: float, unit: str) -> str:
    """Three digits, a prefix and the unit.

    >>> quantity(16 * 2**30, "B"), quantity(512, "B"), quantity(0.0356, "s"), quantity(2e-6, "s")
    ('17.2 GB', '512 B', '35.6 ms', '2 us')
    """
    scale = next((scale for scale in PREFIXES if abs(value) >= 0.9995 * scale), min(PREFIXES))
    return f"{value / scale:#.3g}".rstrip("0").rstrip(".") + f" {PREFIXES[scale]}{unit}"
