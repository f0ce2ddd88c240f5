"""The service of bake-offs: which models take part, each as a variant of the suite's target, row by row until one is left or all rows
are asked.

A bake-off is work like a gate: it is kept before it begins, and one that was cut off goes on where it stopped. Each arm is an
evaluation of its own, with its traces; one that is out ends as `cancelled`, and says why.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from sqlalchemy import Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.models import BASELINE
from windlass.core.operations.bakeoffs import Arm, Bakeoff, BakeoffPage, BakeoffQuery, BakeoffRequest, Excluded, Rule
from windlass.core.operations.discover import CatalogEntry
from windlass.core.operations.evaluation import IdQuery
from windlass.core.ref import parse_ref
from windlass.discover.catalog import Catalog
from windlass.discover.policy import excluded
from windlass.evaluate.baking import Baking
from windlass.evaluate.evaluations import Evaluations
from windlass.evaluate.experiments import Experiments, Suite, read_suite
from windlass.evaluate.leakage import Leakage
from windlass.evaluate.outcomes import whole_id
from windlass.evaluate.variants import Variants
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.versions import Versions
from windlass.store.meta import read, write
from windlass.store.tables import bakeoffs

MOST = 12  # arms, where nobody named the models


class Bakeoffs:
    """Service of bake-offs. Starting one is quick; `run` does the work, in the process that works.

    Args:
        policy: the installation's own rules, which hold for every bake-off.
    """

    def __init__(
        self, engine: Engine, versions: Versions, evaluations: Evaluations, experiments: Experiments, catalog: Catalog, jobs: Jobs,
        leakage: Leakage, policy: tuple[Rule, ...] = (),
    ) -> None:  # fmt: skip
        self._engine = engine
        self._versions = versions
        self._evaluations = evaluations
        self._experiments = experiments
        self._catalog = catalog
        self._jobs = jobs
        self._leakage = leakage
        self._policy = policy

    async def start(self, actor: Actor, request: BakeoffRequest) -> Bakeoff:
        """Operation `discover.start`. Raises `NotFound`; `Invalid` when no model is left to compare, or too many are."""
        ref = parse_ref(request.suite, project=request.project, kind="suite")
        guard(actor, "run", ref.project)
        if not request.budget >= 0:
            raise Invalid("the budget is an amount of US dollars", remedy="0 asks only what is free")
        suite = await asyncio.to_thread(read_suite, self._versions, ref)
        entries = await self._catalog.entries_of(request.models, request.among)
        made = await asyncio.to_thread(self._made, actor, suite, request, ref.project, entries)
        self._jobs.begin("bakeoff", ref.project, made.id)
        return made

    def _made(self, actor: Actor, suite: Suite, request: BakeoffRequest, project: str, entries: list[CatalogEntry]) -> Bakeoff:
        if isinstance(suite.body.target, dict):
            raise Invalid("this suite's target is no version of ours, so its model cannot be changed", where=suite.version.ref.short)
        target = self._versions.resolve(parse_ref(request.target or suite.body.target, project=project))
        variants = Variants(self._versions, self._engine, self._versions.closure(target)[0], request.part)
        policy = (*self._policy, *request.policy)
        taking, out = self._sorted_out(entries, variants, request, policy)
        id = uuid7()
        shown = len(self._leakage.of(suite, [str(target)]))
        total = self._evaluations.count(suite) - shown
        arms = []
        for entry in taking:
            version = variants.make(actor, entry.id, f"bakeoff/{id}")
            evaluation = self._evaluations.make(actor, suite, str(version.ref), project)
            arms.append(Arm(entry.id, str(version.ref), evaluation.id, reference=entry.id == variants.model))
        made = Bakeoff(
            id=id, project=project, suite=suite.ref, target=str(target), part=variants.part.name, status="queued",
            rows=min(request.rows or total, total), left_out=shown, created_ns=now_ns(), arms=tuple(arms), excluded=tuple(out),
            budget=request.budget, policy=policy, data_class=request.data_class, actor=actor.id,
        )  # fmt: skip
        with write(self._engine) as c:
            c.execute(
                insert(bakeoffs).values(
                    id=id, project=project, suite_name=suite.version.name, request=_text(actor), body=_text(made), status=made.status,
                    created_ns=made.created_ns,
                )
            )  # fmt: skip
            self._jobs.hand_over(c, "bakeoff", project, id)
        return made

    def _sorted_out(
        self, entries: list[CatalogEntry], variants: Variants, request: BakeoffRequest, policy: tuple[Rule, ...]
    ) -> tuple[list[CatalogEntry], list[Excluded]]:
        """Who takes part, what runs now first, and who does not, with the reason."""
        present = self._catalog.entry(variants.model)
        by_id = {present.id: present} | {e.id: e for e in entries}
        taking, out = [], []
        for id in [present.id, *sorted(by_id.keys() - {present.id})]:
            entry = by_id[id]
            why_not = excluded(entry, policy, request.data_class, self._catalog.local) or _cannot(
                entry, variants, priced=id in request.models or id == present.id or entry.facts.provider in self._catalog.local
            )
            if why_not:
                out.append(why_not)
            else:
                taking.append(entry)
        others = [e for e in taking if e.id != present.id]
        if not others:
            said = "; ".join(f"{x.model}: {x.why}" + (f" (rule {x.rule!r})" if x.rule else "") for x in out[:5])
            raise Invalid(
                "no model is left to compare with " + present.id + (f": {said}" if said else ""),
                remedy="name some with --models, loosen the policy, or set a provider's key: windlass models says which are missing",
            )
        if len(taking) > MOST and not request.models:
            raise Invalid(
                f"{len(taking)} models could take part; without names a bake-off takes at most {MOST}",
                remedy="name them with --models, or narrow them: --provider, --max-output-price, --can, --open",
            )
        return taking, out

    def show(self, actor: Actor, query: IdQuery) -> Bakeoff:
        """Operation `discover.show`. Raises `NotFound`, `Invalid` when ambiguous."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            id = whole_id(c, bakeoffs, query.project, query.id, "bake-off")
            return _decode(c.execute(select(bakeoffs.c.body).where(bakeoffs.c.id == id)).scalar_one())

    def list(self, actor: Actor, query: BakeoffQuery) -> BakeoffPage:
        """Operation `discover.list`: newest first."""
        guard(actor, "read", query.project)
        b = bakeoffs.c
        found = select(b.body).where(b.project == query.project)
        if query.suite:
            found = found.where(b.suite_name == parse_ref(query.suite, project=query.project, kind="suite").name)
        if query.cursor:
            found = found.where(b.id < query.cursor)
        with read(self._engine) as c:
            bodies = list(c.execute(found.order_by(b.id.desc()).limit(query.limit + 1)).scalars())
        items = tuple(_decode(body) for body in bodies[: query.limit])
        return BakeoffPage(items=items, next=items[-1].id if len(bodies) > query.limit else None)

    async def run(self, project: str, id: str) -> None:
        """Bring a bake-off to its recommendation, or to an error that it keeps. Begins where a run that was cut off stopped."""
        with read(self._engine) as c:
            row = c.execute(select(bakeoffs.c.request, bakeoffs.c.body).where(bakeoffs.c.id == id)).one()
        bakeoff = _decode(row.body)
        if bakeoff.status in ("done", "failed", "cancelled"):
            return
        try:
            suite = await asyncio.to_thread(read_suite, self._versions, parse_ref(bakeoff.suite, project=project))
            shown = await asyncio.to_thread(self._leakage.of, suite, [bakeoff.target])
            await Baking(self._experiments, suite, bakeoff, self._save, {r.row for r in shown}).run()
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            self._save(msgspec.structs.replace(bakeoff, status="failed", error=e.as_dict(), finished_ns=now_ns()))
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            self._save(msgspec.structs.replace(bakeoff, status="failed", error=defect.as_dict(), finished_ns=now_ns()))
            raise

    def _save(self, bakeoff: Bakeoff) -> None:
        with write(self._engine) as c:
            c.execute(update(bakeoffs).where(bakeoffs.c.id == bakeoff.id).values(body=_text(bakeoff), status=bakeoff.status))


def _cannot(entry: CatalogEntry, variants: Variants, *, priced: bool) -> Excluded | None:
    """Why a model that the policy lets through cannot take part. What the catalog does not know is no reason, but for a price where
    it is not `priced` (somebody named the model, or it runs on this machine)."""
    facts = entry.facts
    if not entry.available:
        return Excluded(entry.id, entry.why_not)
    if "agent" in variants.kinds and "tools" in facts.cannot:
        return Excluded(entry.id, f"it cannot call tools ({facts.source})")
    if facts.outputs and "text" not in facts.outputs:
        return Excluded(entry.id, f"it gives {', '.join(facts.outputs)}, no text")
    if entry.input_price is None and facts.provider != BASELINE and not priced:
        return Excluded(entry.id, "its price is not known, so no budget holds it: name it, or set its price in prices.toml")
    return None


def _decode(body: str) -> Bakeoff:
    return msgspec.json.decode(body, type=Bakeoff)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
