"""What the learning curves of a pair of twins say: where they cross, and who is ahead at their ends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Twins:
    """Where the curves of a pair cross, and how far apart their ends are."""

    generative: str
    discriminative: str
    crossing: float
    """Number of labels; NaN if they do not."""
    low: float
    """Ends of its 95 % interval among the draws that cross."""
    high: float
    share: float
    """Of the draws that cross."""
    first: int
    """The fewest labels, and the generative one's lead in accuracy there, with its interval."""
    lead_at_first: float
    lead_at_first_low: float
    lead_at_first_high: float
    last: int
    """The most labels, and the lead there."""
    lead_at_last: float
    lead_at_last_low: float
    lead_at_last_high: float

    def verdict(self) -> str:
        """What the draws say, in a sentence."""
        names = f"{self.generative} and {self.discriminative}"
        if self.share >= 0.95:
            return f"The curves of {names} cross at {self.crossing:,.0f} labels [{self.low:,.0f}, {self.high:,.0f}]."
        if self.share <= 0.05:
            return f"The curves of {names} do not cross."
        return f"Whether the curves of {names} cross is open: they do in {self.share:.0%} of the draws."
