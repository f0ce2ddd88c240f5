"""The composition root: opens the stores, wires the services, closes them. Nothing else.

`handlers` maps the name of every operation to the service method that does it. One `Platform` belongs to one process and,
once it has run something, to one event loop.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

import windlass
from windlass.agentops.broker import Broker
from windlass.agentops.grants import Grants
from windlass.agentops.secrets import Secrets
from windlass.agentops.stops import Stops
from windlass.agentops.tools import Tools
from windlass.core.actor import Actor
from windlass.core.errors import Invalid
from windlass.core.operations import Operation
from windlass.core.operations.runs import ModelEntry
from windlass.core.weights import parse_identity
from windlass.deploy.approvals import ReleaseApprovers
from windlass.deploy.batches import Batches
from windlass.deploy.batching import Batching
from windlass.deploy.evidence import Evidences
from windlass.deploy.impact import Impacts
from windlass.deploy.loadtesting import ByGateway, LoadTesting
from windlass.deploy.loadtests import LoadTests
from windlass.deploy.releases import Releases
from windlass.deploy.reproduce import Reproductions
from windlass.deploy.rollout_arms import RolloutArms
from windlass.deploy.rollouts import Rollouts
from windlass.deploy.rows import RowReasons
from windlass.deploy.why import Reasons
from windlass.discover.catalog import Catalog
from windlass.discover.keys import ProviderKeys, stored_of
from windlass.discover.policy import read_policy
from windlass.discover.providers import load_providers, probe
from windlass.discover.route_health import tell_health
from windlass.discover.routes import Routes, RouteTable
from windlass.evaluate.bakeoffs import Bakeoffs
from windlass.evaluate.evaluations import Evaluations
from windlass.evaluate.experiments import Experiments
from windlass.evaluate.gates import Gates
from windlass.evaluate.hands import Hands, given_of
from windlass.evaluate.leakage import Leakage
from windlass.evaluate.measurements import Measurements
from windlass.evaluate.outcomes import Outcomes
from windlass.evaluate.review_fields import Forms
from windlass.evaluate.review_items import Items
from windlass.evaluate.reviews import Reviews
from windlass.evaluate.targets import Targets
from windlass.evaluate.verdicts import Verdicts
from windlass.govern.actors import Actors
from windlass.govern.audit import Audit
from windlass.govern.counters import Counters
from windlass.govern.erasures import Erasures
from windlass.govern.installation import Installation
from windlass.govern.keyring import Keyring
from windlass.govern.leases import Leases
from windlass.govern.limits import Limits
from windlass.govern.masking import FILE as MASKING_FILE
from windlass.govern.masking import Masking
from windlass.govern.openid import OpenId
from windlass.govern.people import People
from windlass.govern.policy import FILE as POLICY_FILE
from windlass.govern.policy import PolicyFile, read_policy_file
from windlass.govern.prices import Prices
from windlass.govern.provider_keys import KeptKeys
from windlass.govern.reservations import Reservations
from windlass.govern.rulings import Rulings
from windlass.govern.sessions import Sessions, cookie_name
from windlass.govern.standby import Standby
from windlass.jobs.durable import DurableJobs
from windlass.jobs.spread import Spread
from windlass.jobs.work import Jobs, LoopJobs
from windlass.monitor.alerts import Alerts
from windlass.monitor.asked import AskedEvents, TuneEvents
from windlass.monitor.delivery import Deliveries
from windlass.monitor.drifting import Drifts
from windlass.monitor.measuring import Measuring
from windlass.monitor.monitors import Monitors
from windlass.monitor.quality import Quality
from windlass.registry.datasets import Datasets
from windlass.registry.diff import Diffs
from windlass.registry.edits import Edits
from windlass.registry.labels import Labels
from windlass.registry.leaks import Leaks
from windlass.registry.lineage import Lineage
from windlass.registry.pin_jobs import PinJobs
from windlass.registry.pins import Pins
from windlass.registry.prompts import Prompts
from windlass.registry.push import Push
from windlass.registry.rows import Rows
from windlass.registry.sources import Sources
from windlass.registry.steady import SteadyVersions
from windlass.registry.uploads import Uploads
from windlass.registry.verify import Verify
from windlass.registry.versions import Versions, closure
from windlass.registry.weights import WeightsStore
from windlass.rooms import rooms_of
from windlass.runtime.brokering import Brokering
from windlass.runtime.chains import gateway_environment
from windlass.runtime.context import Records, RunContext
from windlass.runtime.draws import Draws, TableDraws
from windlass.runtime.encoders import Encoders
from windlass.runtime.execute import Executor
from windlass.runtime.indexes import Indexes
from windlass.runtime.library import Library
from windlass.runtime.local import Canaries, LocalModels
from windlass.runtime.local.environment import why_no_torch
from windlass.runtime.local.files import LocalFiles
from windlass.runtime.models import Bars, Http, Models, Retries, Timeouts, Upstreams
from windlass.runtime.outside import Outside
from windlass.runtime.process import runner_settings
from windlass.runtime.retrieval import Retrieval
from windlass.runtime.runner import Runners
from windlass.services import SERVICES
from windlass.settings import MB, Settings
from windlass.store.blobs import open_blobs
from windlass.store.health import Health
from windlass.store.home import Home
from windlass.store.journal import Journal
from windlass.store.meta import open_meta, store_url
from windlass.store.packs import Packs
from windlass.store.spans import Spans
from windlass.traces.forwarded import forwardings
from windlass.traces.harvest import Harvest
from windlass.traces.keeping import Keeping
from windlass.traces.local import LocalSpans
from windlass.traces.query import Traces
from windlass.traces.recorder import Recorder
from windlass.traces.scoring import Scoring
from windlass.traces.sessions import Sessions as Conversations
from windlass.traces.socket import RemoteSpans
from windlass.traces.spending import Spending
from windlass.traces.sql import Sql
from windlass.traces.views import Views
from windlass.tune.comparing import Comparing
from windlass.tune.tunes import Tunes
from windlass.tune.working import Working
from windlass.works import Works

if TYPE_CHECKING:
    from windlass.traces.projector import Projection

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")
TOKEN_GRACE = 60.0  # seconds by which a run's token outlives the longest run


class Platform:
    """Everything behind the doors.

    Args:
        home: the data folder; its lock is the caller's affair.
        settings: every setting.
        address: where the server answers; None for a command that works in its own process.
        name: of this process among the data folder's writers.
        owner_key: a further secret of the owner, for a server beyond loopback.
        commands: whether suites may start commands on this machine.
        environ: where providers' keys are.
        records: what takes spans, instead of a journal that a projector reads: then nothing is asked of spans here.

    Raises `Invalid` for a store of a newer version, `Unavailable` when one cannot be opened.
    """

    def __init__(
        self, home: Home, settings: Settings, *, address: str | None = None, name: str = "command",
        owner_key: str | None = None, commands: bool = True, environ: Mapping[str, str] = os.environ,
        records: Records | None = None,
    ) -> None:  # fmt: skip
        self.home = home
        self.settings = settings
        self.address = address
        self.name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self.journal = Journal(home.path / "journal" / name, settings.journal_segment)
        self.masking = Masking(home.path / MASKING_FILE)
        recorder = Recorder(self.journal, self.masking)
        self.records: Records = records or recorder
        self.spans: Spans = RemoteSpans(home.socket) if address or records else LocalSpans(lambda: _projection(home, settings))
        self.traces = Traces(self.spans, self.journal)
        self.sql = Sql(self.spans, self.journal, self.home.path / "run" / "sql")
        self.scoring = Scoring(self.traces, recorder)
        self.conversations = Conversations(self.traces)
        self.standby = Standby(home.path, home.signing_key(), closure)
        self.engine = open_meta(store_url(home, settings.database), self.standby.revision if address else None)
        self.standby.open(self.engine)
        self.views = Views(self.engine)
        self.spending = Spending(self.traces, self.engine)
        self.blobs = open_blobs(home, settings.blobs)
        self.prices = Prices(home.path / "prices.toml")
        self.kept_keys = KeptKeys(self.engine, Keyring(home.path, environ), self.standby.provider_keys)
        self.providers = load_providers(home.path / "providers.toml", environ, stored_of(self.kept_keys))
        counting = home.path / "run" / "limits"
        self.reservations = Reservations(
            self.standby, self.prices, lambda: Counters(counting), lambda counters: Leases(self.engine, counters, counting)
        )
        self._open_govern(owner_key, environ)
        self.works = Works(self)
        self.jobs: Jobs = DurableJobs() if self.address else LoopJobs(self.works.by_kind, self._running_loop)
        self._open_registry(environ)
        self._open_runtime()
        self._open_evaluate(commands)
        self._open_deploy()
        self._open_monitor(environ)
        self._open_tune()
        self.handlers: dict[str, Callable[[Actor, Any], Any]] = {name: attrgetter(path)(self) for name, path in SERVICES.items()}

    def _open_govern(self, owner_key: str | None, environ: Mapping[str, str]) -> None:
        secrets = (self.home.token(), owner_key) if owner_key else (self.home.token(),)
        sessions = Sessions(self.home.path / "run")
        self.people = People(self.engine, sessions, OpenId(self.home.path, environ))
        self.actors = Actors(self.engine, sessions, secrets, self.home.signing_key(), cookie_name(self.address), self.people, self.standby)
        self.limits = Limits(self.engine, self.standby, self.reservations.counted)
        self.rulings = Rulings(self.actors, self.policy)
        self.audit = Audit(self.engine)
        self.installation = Installation(
            self.home.path, windlass.__version__, self.address, health=Health(self.home, self.settings, self.engine),
            ingest=self.traces.counts, ledger=self.audit.ledger, forwarding=lambda: forwardings(self.home.path, self.settings),
            providers=lambda: {"baseline": "ready", **self.providers.detected()}, serving=lambda: self.standby.serving,
        )  # fmt: skip

    def _open_registry(self, environ: Mapping[str, str]) -> None:
        self.versions = Versions(self.engine, self.blobs)
        self.packs = Packs(self.blobs, self.home.path / "run")
        self.rows = Rows(self.engine, self.blobs, self.packs)
        self.datasets = Datasets(self.engine, self.versions, self.rows, self.blobs)
        self.prompts = Prompts(self.versions, self.datasets)
        self.uploads = Uploads(self.engine, self.versions, self.datasets, self.rows)
        self.edits = Edits(self.engine, self.versions, self.datasets, self.rows)
        self.leaks = Leaks(self.versions, self.datasets)
        self.harvest = Harvest(self.engine, self.traces, self.edits, self.leaks)
        self.keeping = Keeping(self.conversations, self.harvest)
        sources = Sources(self.home.path, environ, self.settings.pin_folders)
        self.pins = Pins(self.engine, self.versions, self.datasets, self.rows, self.blobs, sources)
        self.pin_jobs = PinJobs(self.engine, self.pins, self.jobs)
        self.push = Push(self.engine, self.blobs, self.datasets, self.jobs)
        self.labels = Labels(self.engine)
        self.diffs = Diffs(self.versions, self.datasets, self.blobs)
        self.lineage = Lineage(self.engine)
        self.verify = Verify(self.engine, self.blobs, self.datasets)
        self.weights = WeightsStore(self.engine, self.versions, self.blobs)
        self.grants = Grants(self.engine, self.actors.tokens)
        self.stops = Stops(self.engine)
        self.tools = Tools(self.engine)
        self.broker = Broker(self.engine, approval_seconds=self.settings.approval_seconds, told=AskedEvents(lambda: self.alerts))
        self.secrets = Secrets(environ)

    def _open_runtime(self) -> None:
        wanted = self.settings
        timeouts = Timeouts(wanted.connect_seconds, wanted.first_token_seconds, wanted.between_tokens_seconds, wanted.total_seconds)
        self.runners = Runners(self.home.path, self.blobs, runner_settings(wanted))
        out = Http(timeouts, Retries(wanted.retries + 1))  # an encoder's loop is not the models'
        self.encoders = Encoders(self.home.path / "encoders", self.providers, out, wanted.encoder_threads, self.prices.price)
        http, bars = Http(timeouts, Retries(wanted.retries + 1)), Bars(self.encoders)
        folder = self.home.path / "models"
        self.local = LocalModels(folder, LocalFiles(folder / "files", self.blobs), wanted.model_idle_seconds, wanted.tune_threads)
        self.route_table = RouteTable(self.engine, spare=self.standby.routes)
        if self.address:  # so that they are known should the store go away before anybody asks
            self.route_table.load()
        self.routes = Routes(self.engine, self.route_table, self.providers, self.home.path / "run")
        upstreams = Upstreams(partial(tell_health, self.home.path / "run", self.name) if self.address else None)
        self.models = Models(
            self.providers, self.prices.price, http, self.blobs.get, bars, self.local, self.route_table, upstreams
        )  # fmt: skip
        self.provider_keys = ProviderKeys(self.engine, self.providers, self.kept_keys, self.models.probe)
        self.catalog = Catalog(
            self.providers, self.prices, lambda: self.encoders.minilm_installed, missing=why_no_torch,
            weights=lambda identity: self.weights.manifest(parse_identity(identity)[1]).licence,
        )  # fmt: skip
        self.canaries = Canaries(self.weights, self.local)
        self.retrieval = Retrieval(self.home.path / "indexes", self.blobs, self.encoders)
        self.indexes = Indexes(self.engine, self.versions, self.retrieval, self.blobs)
        library, brokering = Library(self.versions), Brokering(self.broker, self.records)
        self.executor = Executor(
            versions=SteadyVersions(self.versions, self.standby), models=self.models, runners=self.runners, records=self.records,
            retrieval=self.retrieval, limits=self.reservations, standby=self.standby,
            draws=Draws(TableDraws(self.engine)), rows=self.datasets.rows, broker=self.broker, secrets=self.secrets,
            environment=self._environment, arms=RolloutArms(self.engine, away=lambda: bool(self.standby.away)).choose,
        )  # fmt: skip
        self.outside = Outside(self.grants, library, brokering, self.executor, self.records)

    def _open_monitor(self, environ: Mapping[str, str]) -> None:
        self.deliveries = Deliveries(self.engine, environ, self.settings.smtp_url, self.settings.smtp_from)
        self.alerts = Alerts(self.engine, self.jobs, self.deliveries, self.settings.public_url or self.address or "")
        self.measuring = Measuring(self.engine, self.traces, self.alerts, self.settings.monitor_seconds)
        self.monitors = Monitors(self.engine, self.versions, self.encoders, self.jobs)
        self.quality = Quality(self.engine, self.traces, self.versions)
        self.drifts = Drifts(self.engine, self.versions, self.encoders)

    def _open_evaluate(self, commands: bool) -> None:
        outcomes = self.outcomes = Outcomes(self.engine)
        seconds = self.settings.runner_seconds
        self.targets = Targets(self.executor, self.records, self.models.http, seconds, self._environment, commands=commands)
        self.experiments = Experiments(
            outcomes=outcomes, versions=self.versions, datasets=self.datasets, targets=self.targets, judges=self.executor,
            records=self.records, concurrency=self.settings.evaluation_concurrency, hands=self._hands(),
        )  # fmt: skip
        self.evaluations = Evaluations(outcomes, self.versions, self.datasets, self.jobs)
        leakage = self.leakage = Leakage(self.versions, self.datasets, self.leaks)
        self.gates = Gates(self.engine, self.versions, self.evaluations, outcomes, self.jobs, self.experiments, leakage)
        self.verdicts = Verdicts(self.engine)
        rules = self.home.path / POLICY_FILE
        policy = read_policy(rules) if rules.exists() else ()
        self.bakeoffs = Bakeoffs(self.engine, self.versions, self.evaluations, self.experiments, self.catalog, self.jobs, leakage, policy)
        items = Items(self.engine, self.traces, self.versions, self.datasets, self.leaks)
        self.reviews = Reviews(self.engine, items, Forms(self.versions, self.datasets), self.edits)
        self.measurements = Measurements(self.engine, self.versions, outcomes)

    def _open_deploy(self) -> None:
        self.approvers = ReleaseApprovers(self.engine, self.policy, able=self.actors.able)
        self.loadtests = LoadTests(self.engine, self.versions, self.jobs, self.policy)
        self.releases = Releases(self.engine, self.approvers, self.loadtests)
        self.rollouts = Rollouts(self.engine, self.releases)
        self.batches = Batches(self.engine, self.versions, self.jobs)
        self.batching = Batching(self.engine, self.versions, self.datasets, self.rows, self.edits, self.targets)
        gateway = ByGateway(self.address, self.models.http, self.actors.tokens).ask if self.address else None
        self.loadtesting = LoadTesting(self.engine, self.versions, self.datasets, self.targets, gateway)
        self.evidences = Evidences(self.engine, self.lineage, self.catalog.entry)
        self.reasons = Reasons(self.engine, self.traces)
        self.impacts = Impacts(self.engine, self.versions, self.datasets, self.lineage, self.traces)
        self.row_reasons = RowReasons(self.engine, self.versions, self.datasets)
        self.reproductions = Reproductions(self.versions, self.datasets, self.verify, self.traces, self.executor)

    def _open_tune(self) -> None:
        wanted, folder = self.settings, self.home.path / "tunes"
        working = Working(self.engine, self.versions, self.weights, self.blobs, self.local, wanted.tune_threads, wanted.tune_memory * MB)
        self.tunes = Tunes(
            self.engine, self.versions, self.datasets, self.weights, self.jobs, folder, working, ended=TuneEvents(self.alerts).ended
        )
        self.comparing = Comparing(
            self.engine, self.versions, self.weights, self.tunes, self.evaluations, self.experiments, self.leakage, self.jobs
        )
        self.erasures = Erasures(self.engine, self.jobs, self.home.signing_key(), rooms_of(self))

    def policy(self) -> PolicyFile:
        """What `policy.toml` says now. Raises `Invalid`."""
        return read_policy_file(self.home.path / POLICY_FILE)

    def _hands(self) -> Hands | None:
        """Who does rows of evaluations elsewhere, by the setting `ray`. Raises `Invalid` where others could not reach the stores."""
        self.spread: Spread | None = None
        if not self.settings.ray:
            return None
        if not (self.settings.database and self.settings.blobs):
            raise Invalid("rows on other machines need stores that they reach", where="ray", remedy="set database and blobs too")
        most = self.settings.evaluation_concurrency
        self.spread = Spread(self.settings.ray, "windlass.doors.rows:open_rows", lambda: given_of(self.home.path, self.settings), most)
        return Hands(self.spread.do)

    async def ask(self, operation: Operation[P, R], actor: Actor, params: P) -> R:
        """Do one operation for somebody. Synchronous services run in a thread. Raises what the service raises."""
        handler = self.handlers[operation.name]
        self._loop = asyncio.get_running_loop()
        if inspect.iscoroutinefunction(handler):
            result: R = await handler(actor, params)
            return result
        return await asyncio.to_thread(handler, actor, params)

    def stream(self, operation: Operation[P, R], actor: Actor, params: P) -> AsyncIterator[R]:
        """Do one operation that streams. Closing the iterator cancels it."""
        pieces: AsyncIterator[R] = self.handlers[operation.name](actor, params)
        return pieces

    async def listed(self, actor: Actor) -> tuple[list[str], list[ModelEntry]]:
        """What the gateway lists: names of routes and of releases in production, and models."""
        routes = await self.route_table.names(actor.project)
        names = await asyncio.to_thread(self.releases.names, actor.project, "production")
        found = self.catalog.entries(await probe(self.providers))
        return list(dict.fromkeys([*routes, *names])), [e for e in found if e.id not in routes]

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "nothing was asked yet"
        return self._loop

    async def close(self) -> None:
        """End what runs and close the stores."""
        await self.jobs.close()
        if self.spread:
            await self.spread.close()
        await self.executor.close()
        await self.runners.close()
        await self.models.close()
        await self.spans.close()
        await asyncio.to_thread(self.reservations.close)
        await asyncio.to_thread(self.standby.close)
        await asyncio.to_thread(self.journal.close)
        await asyncio.to_thread(self.retrieval.close)
        await asyncio.to_thread(self.encoders.close)
        await asyncio.to_thread(self.packs.close)
        self.engine.dispose()

    def _environment(self, context: RunContext) -> dict[str, str]:
        """What a run's own clients need to come back through the gateway."""
        if self.address is None:
            return {}
        seconds = self.settings.runner_seconds + TOKEN_GRACE
        whose = {"payer": context.actor.payer or context.actor.id, "user": context.user, "release": context.release}
        token = self.actors.tokens.run(context.run, context.project, seconds, context.evaluation, **whose)
        return gateway_environment(self.address, token, context.evaluation)


def _projection(home: Home, settings: Settings) -> Projection:
    from windlass.traces.projector import open_projection  # a server's doors, and most commands, never need it

    return open_projection(home, settings)
