"""From an LLM's answer to P(target = 1): pure functions, no guesses."""

import math


def label_of(token: str, label_words: list[str]) -> int | None:
    """The label whose word this token is or begins, whatever its case and surrounding space or punctuation.

    A beginning counts from two letters on: tokenizers cut words ("dis", "aster"), and a single letter says too little.
    """
    token = token.strip(" \t\n▁Ġ.,:;!\"'*").lower()
    words = [word.strip().lower() for word in label_words]
    labels = [n for n, word in enumerate(words) if token == word or (len(token) >= 2 and word.startswith(token))]
    return labels[0] if len(labels) == 1 else None


def score_logprobs(top_logprobs: list[tuple[str, float]], label_words: list[str]) -> float | None:
    """P(target = 1) from the most probable first tokens and their log-probabilities; None if no label word is among them.

    The probabilities of all spellings of a word are summed. A word that is not listed is at most as probable as the last
    token that is, and as what all of them leave; it is taken to be just that: certainty is not claimed from a cut list.
    """
    probabilities = [math.exp(logprob) for _, logprob in top_logprobs]
    mass: list[list[float]] = [[], []]
    for (token, _), probability in zip(top_logprobs, probabilities, strict=True):
        if (label := label_of(token, label_words)) is not None:
            mass[label].append(probability)
    if not any(mass):
        return None
    rest = max(0.0, min(*probabilities, 1 - sum(probabilities)))
    no, yes = (sum(found) or rest for found in mass)
    return yes / (yes + no)
