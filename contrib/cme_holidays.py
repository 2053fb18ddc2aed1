"""Write the days on which CME's Globex closes or closes early, as riskd's package keeps them.

The dates are those of pandas_market_calendars, for the products of equity indices; run this once a year:

    pip install -e '.[calendars]'
    python contrib/cme_holidays.py > riskd/rules/cme_holidays.toml
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from importlib.metadata import version

import pandas as pd
import pandas_market_calendars

CALENDAR = "CME Globex Equity"
ZONE = "America/Chicago"
USUAL_CLOSE = "16:00"


def main() -> None:
    """Write the file to standard output."""
    this_year = date.today().year  # noqa: DTZ011  # whole years
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", type=date.fromisoformat, default=date(this_year - 1, 1, 1))
    parser.add_argument("--until", type=date.fromisoformat, default=date(this_year + 1, 12, 31))
    options = parser.parse_args()
    schedule = pandas_market_calendars.get_calendar(CALENDAR).schedule(
        options.since, options.until
    )
    closes = schedule["market_close"].dt.tz_convert(ZONE).dt.strftime("%H:%M")
    early = {day.date(): close for day, close in closes.items() if close != USUAL_CLOSE}
    weekdays = pd.bdate_range(options.since, options.until)
    closed = [day.date() for day in weekdays if day not in schedule.index]
    lines = [
        "# Made by contrib/cme_holidays.py; do not edit.",
        f'source = "pandas_market_calendars {version("pandas_market_calendars")}, {CALENDAR}"',
        f"known_until = {options.until}",
        "# Weekdays without a session, and the times in Chicago of early closes.",
        *("closed = [", *(f"    {day}," for day in closed), "]"),
        "[early_closes]",
        *(f'{day} = "{close}"' for day, close in early.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
