"""What tracks share in which agents of `agents` learn: what a trained row comes to, cell by cell."""

from __future__ import annotations

from seqrl_jax.agents.base import Agent
from seqrl_jax.results.record import Curve
from seqrl_jax.tracks.base import Outcome
from seqrl_jax.tracks.training import Trained

RETURN, CLAIM = "return", "claim"
STEPS = "environment steps"


def outcome_of(agent: Agent, trained: Trained, number: int, bounded_by: list[str]) -> Outcome:
    """That of the row's task of this number. bounded_by: the names of bounds that its scores cannot exceed."""
    claims = {} if trained.claims is None else {CLAIM: trained.claims[number]}
    curve = Curve(STEPS, list(map(float, trained.steps)), [point[number] for point in trained.curve])
    return Outcome(
        metrics={RETURN: trained.scores[number], **claims},
        standard_errors={RETURN: trained.standard_errors[number]},
        curves={RETURN: curve},
        bounded_by=bounded_by,
        marked_wrong=agent.marked_wrong,
        policy=agent.acts,
        episodes=[trained.episodes] * len(trained.scores[number]),
        steps_made=trained.steps[-1],
        spent=trained.spent,
        warnings=trained.warnings[number],
        failures=trained.failures[number],
    )
