"""Malformed inputs of every kind, and the line that each must end with."""

from .case import Case
from .csvs import CASES as CSVS
from .params import CASES as PARAMS
from .prompts import CASES as PROMPTS

CASES: list[Case] = [*CSVS, *PARAMS, *PROMPTS]
