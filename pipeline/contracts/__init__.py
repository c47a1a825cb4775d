"""The contracts between stages: typed params, prepared tweets, predictions, costs, and errors of one line.

Every stage depends on this folder, so it stays small and free of torch and openai.
"""

from pipeline.contracts.costs import Costs, LlmCosts, peak_memory_mb, read_costs, write_costs
from pipeline.contracts.errors import (
    SECRET_NAMES,
    InputError,
    first_fault,
    printable,
    reason,
    redacted,
    without_secrets,
)
from pipeline.contracts.files import read_json, read_parquet, write_text, written_whole
from pipeline.contracts.params import (
    Model,
    Name,
    Params,
    ProjectPath,
    named,
    plain_name,
    read_params,
    read_yaml,
    stays,
    unknown,
    validated,
)
from pipeline.contracts.predictions import (
    PREDICTIONS,
    UNCALIBRATED,
    Predictions,
    School,
    TestRows,
    check_predictions,
    first_row,
    predictions_frame,
    read_predictions,
    write_predictions,
)
from pipeline.contracts.prepared import PREPARED, Prepared, near_duplicates, prepared_digest, read_prepared

__all__ = [
    "PREDICTIONS",
    "PREPARED",
    "SECRET_NAMES",
    "UNCALIBRATED",
    "Costs",
    "InputError",
    "LlmCosts",
    "Model",
    "Name",
    "Params",
    "Predictions",
    "Prepared",
    "ProjectPath",
    "School",
    "TestRows",
    "check_predictions",
    "first_fault",
    "first_row",
    "named",
    "near_duplicates",
    "peak_memory_mb",
    "plain_name",
    "predictions_frame",
    "prepared_digest",
    "printable",
    "read_costs",
    "read_json",
    "read_params",
    "read_parquet",
    "read_predictions",
    "read_prepared",
    "read_yaml",
    "reason",
    "redacted",
    "stays",
    "unknown",
    "validated",
    "without_secrets",
    "write_costs",
    "write_predictions",
    "write_text",
    "written_whole",
]
