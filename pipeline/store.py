"""Where things live that must outlast a stage: answers of an LLM that were paid for.

DVC deletes a stage's outputs before it runs, and experiments run in copies of the repository, so the store is outside of
both: `$DISASTER_TWEETS_STORE`, or the user's cache folder.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path

from pipeline.contracts import InputError


def store_folder() -> Path:
    """The store's folder, made if need be."""
    chosen = os.environ.get("DISASTER_TWEETS_STORE")
    folder = Path(chosen).expanduser().absolute() if chosen else user_cache_path("disaster-tweets")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # there are tweets in it
    except OSError as error:
        raise InputError(f"the store {folder} cannot be made: {error.strerror}; set DISASTER_TWEETS_STORE") from None
    return folder
