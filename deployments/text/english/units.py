"""Units of measurement and their names."""

from __future__ import annotations


def _regular(names: str) -> dict[str, tuple[str, str]]:
    """ "kg kilogram, g gram" """
    found = {}
    for entry in names.split(","):
        sign, name = entry.split(maxsplit=1)
        found[sign] = (name, name + "s")
    return found


# Sign -> one, many. Case counts: 5 m are meters, 5M are millions.
UNITS: dict[str, tuple[str, str]] = {
    **_regular(
        "nm nanometer, µm micrometer, um micrometer, mm millimeter, cm centimeter, dm decimeter, m meter, "
        "km kilometer, mi mile, yd yard, yds yard, nmi nautical mile, µg microgram, mcg microgram, "
        "mg milligram, g gram, kg kilogram, Kg kilogram, KG kilogram, lb pound, lbs pound, oz ounce, "
        "ml milliliter, mL milliliter, cl centiliter, cL centiliter, dl deciliter, dL deciliter, l liter, "
        "L liter, gal gallon, qt quart, tbsp tablespoon, tsp teaspoon, ha hectare, cc cubic centimeter, "
        "ns nanosecond, µs microsecond, ms millisecond, s second, sec second, secs second, min minute, "
        "mins minute, h hour, hr hour, hrs hour, yr year, yrs year, wk week, wks week, mo month, mos month, "
        "kB kilobyte, KB kilobyte, MB megabyte, GB gigabyte, TB terabyte, PB petabyte, EB exabyte, "
        "KiB kibibyte, MiB mebibyte, GiB gibibyte, TiB tebibyte, kb kilobit, Kb kilobit, Mb megabit, "
        "Gb gigabit, Tb terabit, kbit kilobit, Mbit megabit, Gbit gigabit, W watt, mW milliwatt, kW kilowatt, "
        "KW kilowatt, MW megawatt, GW gigawatt, TW terawatt, Wh watt hour, kWh kilowatt hour, "
        "KWh kilowatt hour, MWh megawatt hour, GWh gigawatt hour, TWh terawatt hour, V volt, mV millivolt, "
        "kV kilovolt, mA milliampere, mAh milliampere hour, Ah ampere hour, Ω ohm, kΩ kiloohm, MΩ megaohm, "
        "kJ kilojoule, MJ megajoule, kcal kilocalorie, cal calorie, Pa pascal, hPa hectopascal, "
        "kPa kilopascal, MPa megapascal, Nm newton meter, kN kilonewton, dB decibel, px pixel, MP megapixel, "
        "sqm square meter"
    ),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
    "sqft": ("square foot", "square feet"),
    "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "mpg": ("mile per gallon", "miles per gallon"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "KHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "THz": ("terahertz", "terahertz"),
    "hz": ("hertz", "hertz"),
    "bps": ("bit per second", "bits per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "RPM": ("revolution per minute", "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"),
    "fps": ("frame per second", "frames per second"),
    "FPS": ("frame per second", "frames per second"),
    "dpi": ("dot per inch", "dots per inch"),
    "ppi": ("pixel per inch", "pixels per inch"),
    "ppm": ("part per million", "parts per million"),
    "ppb": ("part per billion", "parts per billion"),
    "psi": ("pound per square inch", "pounds per square inch"),
    "hp": ("horsepower", "horsepower"),
    "bar": ("bar", "bar"),
    "mbar": ("millibar", "millibars"),
    "lx": ("lux", "lux"),
    "m²": ("square meter", "square meters"),
    "km²": ("square kilometer", "square kilometers"),
    "cm²": ("square centimeter", "square centimeters"),
    "m³": ("cubic meter", "cubic meters"),
    "cm³": ("cubic centimeter", "cubic centimeters"),
    "%": ("percent", "percent"),
    "‰": ("per mille", "per mille"),
}
# Signs that are words as well: they need rules of their own.
WORD_LIKE = frozenset(("in",))
# What stands after a slash.
PER: dict[str, str] = {
    "h": "hour",
    "hr": "hour",
    "hour": "hour",
    "s": "second",
    "sec": "second",
    "min": "minute",
    "day": "day",
    "d": "day",
    "week": "week",
    "month": "month",
    "mo": "month",
    "year": "year",
    "yr": "year",
    "m²": "square meter",
    "m³": "cubic meter",
    "m3": "cubic meter",
    "m": "meter",
    "km": "kilometer",
    "mi": "mile",
    "kg": "kilogram",
    "g": "gram",
    "L": "liter",
    "l": "liter",
    "mL": "milliliter",
    "ml": "milliliter",
    "dL": "deciliter",
    "dl": "deciliter",
    "s²": "second squared",
    "lb": "pound",
    "gal": "gallon",
}
