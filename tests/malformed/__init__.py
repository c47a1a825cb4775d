"""Malformed inputs of every kind, and the line that each must end with."""

from .case import Case
from .csvs import CASES as CSVS
from .models import CASES as MODELS
from .params import CASES as PARAMS
from .prompts import CASES as PROMPTS
from .scores import CASES as SCORES

CASES: list[Case] = [*CSVS, *PARAMS, *PROMPTS, *SCORES, *MODELS]
