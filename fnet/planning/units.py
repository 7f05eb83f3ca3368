"""Numbers as people read them."""

PREFIXES: dict[float, str] = {
    1e15: "P",
    1e12: "T",
    1e9: "G",
    1e6: "M",
    1e3: "k",
    1: "",
    1e-3: "m",
    1e-6: "u",
    1e-9: "n",
}


def quantity(value: float, unit: str) -> str:
    """Three digits, a prefix and the unit.

    >>> quantity(16 * 2**30, "B"), quantity(512, "B"), quantity(0.03561, "s"), quantity(5e-7, "s")
    ('17.2 GB', '512 B', '35.6 ms', '500 ns')
    >>> quantity(0, "B"), quantity(7, "B"), quantity(999_999, "B"), quantity(2e9, "B/s")
    ('0 B', '7 B', '1.00 MB', '2.00 GB/s')
    """
    if isinstance(value, int) and value < 1000:
        return f"{value} {unit}"
    scale = next((scale for scale in PREFIXES if value >= 0.9995 * scale), min(PREFIXES))
    return f"{value / scale:#.3g}".rstrip(".") + f" {PREFIXES[scale]}{unit}"
