"""What a release is let out by: evaluations, reviews, gates; and the releases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from windlass.core.operations import deploy, evaluation, evidence, reviews, rollouts
from windlass.core.operations.query import taken
from windlass.core.score import Verdict
from windlass.sdk.nouns.group import Group


class Evaluations(Group):
    def start(self, suite: str, target: str | None = None, *, fresh: bool = False) -> evaluation.Evaluation:
        """Operation `evaluations.start`."""
        return self._client.call(evaluation.EVALUATE, evaluation.EvaluateRequest(suite, target, self._project, fresh))

    def list(self, suite: str | None = None, cursor: str | None = None, limit: int = 50) -> evaluation.EvaluationPage:
        """Operation `evaluations.list`."""
        return self._client.call(evaluation.EVALUATIONS, evaluation.EvaluationQuery(self._project, suite, cursor, limit))

    def show(self, id: str) -> evaluation.Evaluation:
        """Operation `evaluations.show`."""
        return self._client.call(evaluation.EVALUATION, evaluation.IdQuery(id, self._project))

    def outcomes(self, id: str, only: str = "all", cursor: str | None = None, limit: int = 50) -> evaluation.OutcomePage:
        """Operation `evaluations.outcomes`."""
        asked = {"id": id, "project": self._project, "cursor": cursor, "limit": limit, "only": only}
        return self._client.call(evaluation.OUTCOMES, taken(evaluation.OutcomesQuery, asked))

    def compare(self, a: str, b: str, only: str = "changed", cursor: str | None = None, limit: int = 50) -> evaluation.Comparison:
        """Operation `evaluations.compare`."""
        asked = {"a": a, "b": b, "project": self._project, "cursor": cursor, "limit": limit, "only": only}
        return self._client.call(evaluation.COMPARE, taken(evaluation.CompareQuery, asked))


class Reviews(Group):
    def add(
        self,
        queue: str,
        traces: Iterable[str] = (),
        *,
        items: Iterable[reviews.NewReview] = (),
        reason: str = "",
        suggested: dict[str, Any] | None = None,
        kind: reviews.ReviewKind | None = None,
        guidelines: str | None = None,
        raters: int | None = None,
    ) -> reviews.ReviewAdded:
        """Put traces to label, or any `items`, into a queue. Operation `reviews.add`."""
        each = tuple(reviews.NewReview((trace,), reason=reason, suggested=suggested or {}) for trace in traces)
        asked = reviews.ReviewAdd(queue, (*each, *items), kind, guidelines, raters, self._project)
        return self._client.call(reviews.ADD_REVIEWS, asked)

    def queues(self, cursor: str | None = None, limit: int = 50) -> reviews.ReviewPage:
        """The queues. Operation `reviews.list`."""
        return self._client.call(reviews.REVIEWS, reviews.ReviewsQuery(None, None, self._project, cursor, limit))

    def list(self, queue: str, state: str | None = None, cursor: str | None = None, limit: int = 50) -> reviews.ReviewPage:
        """Items of a queue. Operation `reviews.list`."""
        asked = {"queue": queue, "state": state, "project": self._project, "cursor": cursor, "limit": limit}
        return self._client.call(reviews.REVIEWS, taken(reviews.ReviewsQuery, asked))

    def show(self, id: str) -> reviews.Review:
        """Operation `reviews.show`."""
        return self._client.call(reviews.REVIEW, reviews.ReviewQuery(id, self._project))

    def decide(
        self,
        id: str,
        fields: dict[str, Any] | None = None,
        *,
        choose: reviews.Choice | None = None,
        skip: str | None = None,
        undo: bool = False,
    ) -> reviews.Review:
        """Say what is right. Operation `reviews.decide`."""
        return self._client.call(reviews.DECIDE, reviews.ReviewDecide(id, fields, choose, skip, undo, self._project))

    def keep(self, queue: str, message: str = "") -> reviews.ReviewsKept:
        """A dataset version of what is decided. Operation `reviews.keep`."""
        return self._client.call(reviews.KEEP_REVIEWS, reviews.ReviewKeep(queue, message, self._project))


class Gates(Group):
    def start(self, suite: str, candidate: str | None = None, environment: str = "production") -> evaluation.GateJob:
        """Operation `gate.start`."""
        return self._client.call(evaluation.GATE, evaluation.GateRequest(suite, candidate, self._project, environment))

    def show(self, id: str) -> evaluation.GateJob:
        """Operation `gate.show`."""
        return self._client.call(evaluation.GATE_JOB, evaluation.IdQuery(id, self._project))

    def verdicts(self, suite: str | None = None, cursor: str | None = None, limit: int = 50) -> evaluation.VerdictPage:
        """Operation `verdicts.list`."""
        return self._client.call(evaluation.VERDICTS, evaluation.VerdictQuery(self._project, suite, None, cursor, limit))

    def verdict(self, id: str) -> Verdict:
        """Operation `verdicts.show`."""
        return self._client.call(evaluation.VERDICT, evaluation.IdQuery(id, self._project))


class Releases(Group):
    def promote(
        self,
        release: str,
        environment: str = "production",
        *,
        digest: str | None = None,
        verdict: str | None = None,
        override: str | None = None,
    ) -> deploy.Move:
        """Operation `releases.promote`."""
        return self._client.call(deploy.PROMOTE, deploy.PromoteRequest(release, environment, digest, verdict, override, self._project))

    def approve(self, release: str, verdict: str | None = None, note: str = "", environment: str = "production") -> deploy.ReleaseApprovals:
        """Operation `releases.approve`."""
        return self._client.call(deploy.APPROVE, deploy.ApproveRequest(release, verdict, note, environment, self._project))

    def withdraw(
        self, release: str, verdict: str | None = None, note: str = "", environment: str = "production"
    ) -> deploy.ReleaseApprovals:
        """Take back one's approval. Operation `releases.withdraw`."""
        return self._client.call(deploy.WITHDRAW, deploy.ApproveRequest(release, verdict, note, environment, self._project))

    def approvals(self, release: str, verdict: str | None = None, environment: str = "production") -> deploy.ReleaseApprovals:
        """Who approved it, who could, and whether that is enough. Operation `releases.approvals`."""
        return self._client.call(deploy.RELEASE_APPROVALS, deploy.ApprovalsQuery(release, verdict, environment, self._project))

    def rollback(self, release: str, environment: str = "production") -> deploy.Move:
        """Operation `releases.rollback`."""
        return self._client.call(deploy.ROLLBACK, deploy.RollbackRequest(release, environment, self._project))

    def history(
        self, release: str | None = None, environment: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> deploy.History:
        """Operation `releases.history`."""
        return self._client.call(deploy.HISTORY, deploy.HistoryQuery(release, environment, self._project, cursor, limit))

    def evidence(self, release: str) -> evidence.ReleaseEvidence:
        """What shows others how a release came to be, as files. Operation `evidence.make`."""
        return self._client.call(evidence.EVIDENCE, evidence.EvidenceRequest(release, self._project))

    def list(self) -> deploy.ReleaseList:
        """Operation `releases.list`."""
        return self._client.call(deploy.RELEASES, deploy.ReleaseQuery(self._project))


class Rollouts(Group):
    def start(self, release: str, environment: str = "production", **more: Any) -> rollouts.Rollout:
        """Have the candidate that a verdict lets out answer a growing share. `more` are the further fields of `RolloutStart`; guards may be
        `RolloutGuard`s or dicts of their fields. Operation `rollouts.start`."""
        asked = {"release": release, "environment": environment, "project": self._project} | more
        return self._client.call(rollouts.START_ROLLOUT, taken(rollouts.RolloutStart, asked))

    def list(self, **filters: Any) -> rollouts.RolloutPage:
        """Filters are the fields of `RolloutQuery`. Operation `rollouts.list`."""
        return self._client.call(rollouts.ROLLOUTS, taken(rollouts.RolloutQuery, {"project": self._project} | filters))

    def show(self, id: str) -> rollouts.Rollout:
        """Its arms, its evidence and its steps. Operation `rollouts.show`."""
        return self._client.call(rollouts.ROLLOUT, rollouts.RolloutShow(id, self._project))

    def step(self, id: str, why: str) -> rollouts.Rollout:
        """To the next share, for a reason. Operation `rollouts.step`."""
        return self._client.call(rollouts.STEP_ROLLOUT, rollouts.RolloutChange(id, why, self._project))

    def back(self, id: str, why: str) -> rollouts.Rollout:
        """To the share before, or from the environment back to the base. Operation `rollouts.back`."""
        return self._client.call(rollouts.BACK_ROLLOUT, rollouts.RolloutChange(id, why, self._project))

    def stop(self, id: str, why: str) -> rollouts.Rollout:
        """Everybody is answered by the base again. Operation `rollouts.stop`."""
        return self._client.call(rollouts.STOP_ROLLOUT, rollouts.RolloutChange(id, why, self._project))
