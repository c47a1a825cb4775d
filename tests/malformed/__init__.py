"""Malformed inputs of every kind, and the line that each must end with."""

from .case import Case
from .csvs import CASES as CSVS

CASES: list[Case] = [*CSVS]
