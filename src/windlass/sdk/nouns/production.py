"""What production does: traces, monitors, alerts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

from windlass.core.errors import error_from_dict
from windlass.core.operations import alerts, monitors, sessions, traces, views
from windlass.core.operations.calls import CALLS, CallGraph, CallsShow
from windlass.core.operations.costs import TRACE_COSTS, CostsShow, TraceCosts
from windlass.core.operations.datasets import Edited
from windlass.core.operations.figures import FIGURES, Figures, FiguresQuery
from windlass.core.operations.ledger import LEDGER, LEDGER_AUDIT, LedgerAudit, LedgerAudited, LedgerPage, LedgerQuery
from windlass.core.operations.logs import LOGS, LogPage, LogQuery
from windlass.core.operations.metrics import METRIC, METRICS, MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.core.operations.query import taken
from windlass.core.operations.trees import TREE, TraceTree, TreeShow
from windlass.sdk import export
from windlass.sdk.nouns.group import POLL_SECONDS, Group


class Traces(Group):
    def list(self, **filters: Any) -> traces.TracePage:
        """Filters are the fields of `TraceQuery`. Operation `traces.list`."""
        return self._client.call(traces.TRACES, traces.TraceQuery(project=self._project, **filters))

    def fields(self, filter: str = "", **more: Any) -> traces.Fields:
        """How many traces fit, and what they say in the fields of filters. `more` are the fields of `FieldQuery`. Operation
        `traces.fields`."""
        return self._client.call(traces.FIELDS, traces.FieldQuery(project=self._project, filter=filter, **more))

    def show(self, id: str, cursor: str | None = None, limit: int = 200, span: str = "") -> traces.Trace:
        """Its spans in start order, 200 at a time; with `span` that one alone. Operation `traces.show`."""
        asked = {"id": id, "project": self._project, "cursor": cursor, "limit": limit, "span": span}
        return self._client.call(traces.TRACE, taken(traces.TraceShow, asked))

    def tree(self, id: str, of: str = "", **more: Any) -> TraceTree:
        """Steps below a step, or all: the upper levels first, however many there are; with `order` those that failed, were slow or dear.
        `more` are the fields of `TreeShow`. Operation `traces.tree`."""
        return self._client.call(TREE, taken(TreeShow, {"id": id, "of": of, "project": self._project} | more))

    def calls(self, id: str) -> CallGraph:
        """Who called whom: agents, tools, models with how often, how long and for how much. Operation `traces.calls`."""
        return self._client.call(CALLS, CallsShow(id, self._project))

    def costs(self, id: str) -> TraceCosts:
        """Why it cost so much: what its calls come to by model, and the dearest. Operation `traces.costs`."""
        return self._client.call(TRACE_COSTS, CostsShow(id, self._project))

    def text(self, id: str, span: str, of: str = "input") -> str:
        """A text of a span, whole, where `show` shortens it. Operation `traces.text`."""
        asked = {"id": id, "span": span, "of": of, "project": self._project}
        return self._client.call(traces.TEXT, taken(traces.TextShow, asked)).text

    def spans(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every span of every trace that fits, as rows for a dataframe (`sdk.export.COLUMNS`), the newest trace first."""
        return itertools.chain.from_iterable(export.spans_of(self, filters))

    def why(self, id: str) -> traces.Why:
        """Operation `traces.why`."""
        return self._client.call(traces.WHY, traces.TraceShow(id, self._project))

    def live(self, release: str | None = None, hours: int = 24) -> traces.LiveFigures:
        """Operation `traces.live`."""
        return self._client.call(traces.LIVE, traces.LiveQuery(self._project, release, hours))

    def figures(self, hours: float | None = None, **filters: Any) -> Figures:
        """How many, how slow, how dear and how good, over the last so many hours and by what `by` names; filters are the fields of
        `FiguresQuery`. `msgspec.to_builtins(found.buckets)` is rows for a dataframe. Operation `traces.figures`."""
        if hours is not None:
            filters.setdefault("since_ns", time.time_ns() - int(hours * 3600 * 10**9))
        return self._client.call(FIGURES, FiguresQuery(project=self._project, **filters))

    def score(
        self, trace: str | None, name: str, value: bool | float | str | None = None, *, comment: str | None = None, **more: Any
    ) -> traces.ScoreKept:  # fmt: skip
        """Give a score to a trace by its id, which need not have arrived yet; with `span` to a span of it; with None and `session` or `run`
        to a session, or to a run of a dataset by the id that its SDK told. `value` is a number, True or False, or a category; none with a
        comment alone. The same name again replaces; `withdraw` takes it back. `more` are the fields of `ScoreRequest`. It is on disk when
        this returns. Operation `traces.score`."""
        asked = {"trace": trace, "name": name, "value": value, "comment": comment, "project": self._project} | more
        return self._client.call(traces.GIVE_SCORE, taken(traces.ScoreRequest, asked))

    def remap(self) -> Iterator[traces.Remapped]:
        """Read what is kept of every span anew, by the tables of this version; says again and again how far it is. Operation
        `traces.remap`."""
        while True:
            yield (told := self._client.call(traces.REMAP, traces.TraceRemap()))
            if told.finished:
                return

    def ledger(self, hours: int = 168) -> LedgerPage:
        """What was received in so many hours, 0 for all time, and what came of it. Operation `traces.ledger`."""
        return self._client.call(LEDGER, LedgerQuery(self._project, hours))

    def audit(self) -> Iterator[LedgerAudited]:
        """Read the journal again and hold ledger and tables against it; says again and again how far it is. Operation `traces.audit`."""
        while True:
            yield (told := self._client.call(LEDGER_AUDIT, LedgerAudit(self._project)))
            if told.finished:
                return


class Logs(Group):
    def list(self, **filters: Any) -> LogPage:
        """Log records, the newest first. Filters are the fields of `LogQuery`. Operation `logs.list`."""
        return self._client.call(LOGS, taken(LogQuery, {"project": self._project} | filters))


class Metrics(Group):
    def list(self, **filters: Any) -> MetricPage:
        """Filters are the fields of `MetricQuery`. Operation `metrics.list`."""
        return self._client.call(METRICS, taken(MetricQuery, {"project": self._project} | filters))

    def show(self, name: str, hours: float | None = None, **how: Any) -> MetricTold:
        """A metric over the last so many hours, 24 by default; `how` are the fields of `MetricShow`: `by` an attribute, `filter`, `unit`
        and `type`. `msgspec.to_builtins(told.buckets)` is rows for a dataframe. Operation `metrics.show`."""
        if hours is not None:
            how.setdefault("since_ns", time.time_ns() - int(hours * 3600 * 10**9))
        return self._client.call(METRIC, taken(MetricShow, {"name": name, "project": self._project} | how))


class Views(Group):
    def save(self, name: str, asked: dict[str, str], page: str = "traces", shared: bool = False) -> views.SavedView:
        """Keep what a page is asked (`filter`, `last`, `by` …) under a name, for oneself or `shared`. Operation `views.save`."""
        given = {"name": name, "page": page, "asked": asked, "shared": shared, "project": self._project}
        return self._client.call(views.SAVE_VIEW, taken(views.ViewSave, given))

    def list(self, page: str | None = None) -> views.ViewList:
        """Operation `views.list`."""
        return self._client.call(views.VIEWS, taken(views.ViewQuery, {"page": page, "project": self._project}))

    def remove(self, name: str, shared: bool = False) -> views.SavedView:
        """Operation `views.remove`."""
        return self._client.call(views.REMOVE_VIEW, views.ViewRemove(name, shared, self._project))


class Sessions(Group):
    def list(self, **filters: Any) -> sessions.SessionPage:
        """Filters are the fields of `SessionQuery`. Operation `sessions.list`."""
        return self._client.call(sessions.SESSIONS, sessions.SessionQuery(project=self._project, **filters))

    def show(self, id: str, cursor: str | None = None, limit: int = 20) -> sessions.Session:
        """What happened in a session, or in one run by its trace. Operation `sessions.show`."""
        return self._client.call(sessions.SESSION, sessions.SessionShow(id, self._project, cursor, limit))

    def keep(self, id: str, dataset: str, runs: Iterable[str], **more: Any) -> Edited:
        """Runs of a session that are good, by their traces, as evaluation cases: what was asked, and the calls that ran well. `more` are
        the fields of `SessionKeep`. Operation `sessions.keep`."""
        asked = {"id": id, "ref": dataset, "runs": tuple(runs), "project": self._project} | more
        return self._client.call(sessions.SESSION_KEEP, taken(sessions.SessionKeep, asked))


class Monitors(Group):
    def set(self, name: str, suite: str, **more: Any) -> monitors.MonitorState:
        """Make a monitor, or change one; `more` are the fields of `MonitorRequest`. Operation `monitors.set`."""
        asked = {"name": name, "suite": suite, "project": self._project} | more
        return self._client.call(monitors.SET_MONITOR, taken(monitors.MonitorRequest, asked))

    def list(self, cursor: str | None = None, limit: int = 50) -> monitors.MonitorPage:
        """Operation `monitors.list`."""
        return self._client.call(monitors.MONITORS, monitors.MonitorQuery(self._project, cursor, limit))

    def show(self, name: str) -> monitors.MonitorDetail:
        """Operation `monitors.show`."""
        return self._client.call(monitors.MONITOR, monitors.MonitorName(name, self._project))

    def look(self, name: str, *, wait: bool = True) -> monitors.MonitorState:
        """Have it look at what came, and wait for what it says. Raises why it could not. Operation `monitors.look`."""
        state = self._client.call(monitors.LOOK_NOW, monitors.MonitorName(name, self._project))
        while wait and state.status == "looking":
            time.sleep(POLL_SECONDS)
            state = self.show(name).monitor
        if wait and state.problem:
            raise error_from_dict(state.problem)
        return state

    def pause(self, name: str, paused: bool = True) -> monitors.MonitorState:
        """Operation `monitors.pause`."""
        return self._client.call(monitors.PAUSE_MONITOR, monitors.MonitorPause(name, paused, self._project))

    def drift(self, name: str, hours: float = 168, against: float | None = None) -> monitors.DriftSeen:
        """The last hours against those before. Operation `monitors.drift`."""
        return self._client.call(monitors.DRIFT, monitors.DriftQuery(name, self._project, hours, against))

    def quality(self, release: str | None = None, **filters: Any) -> monitors.QualityOverTime:
        """Filters are the fields of `QualityQuery`. Operation `monitors.quality`."""
        return self._client.call(monitors.QUALITY, monitors.QualityQuery(self._project, release, **filters))


class Alerts(Group):
    def set(self, name: str, **what: Any) -> alerts.AlertState:
        """The alert as it is to be, whole; `what` are the further fields of `AlertSet`. Operation `alerts.set`."""
        return self._client.call(alerts.SET_ALERT, taken(alerts.AlertSet, {"name": name, "project": self._project} | what))

    def list(self, cursor: str | None = None, limit: int = 50) -> alerts.AlertPage:
        """Operation `alerts.list`."""
        return self._client.call(alerts.ALERTS, alerts.AlertQuery(self._project, cursor, limit))

    def events(self, **filters: Any) -> alerts.EventPage:
        """Filters are the fields of `EventQuery`. Operation `alerts.events`."""
        return self._client.call(alerts.EVENTS, alerts.EventQuery(project=self._project, **filters))

    def show(self, event: str) -> alerts.EventDetail:
        """An event with its deliveries. Operation `alerts.show`."""
        return self._client.call(alerts.SHOW_EVENT, alerts.EventShow(event, self._project))

    def acknowledge(self, event: str, note: str = "") -> alerts.EventState:
        """Operation `alerts.acknowledge`."""
        return self._client.call(alerts.ACKNOWLEDGE, alerts.Acknowledge(event, note, self._project))

    def look(self, name: str) -> alerts.AlertState:
        """Ask what the metric of an alert is now; what is found is told. Operation `alerts.look`."""
        return self._client.call(alerts.LOOK_ALERT, alerts.AlertLook(name, self._project))

    def test(self, name: str) -> alerts.EventDetail:
        """Send a test event through one alert, and see what came of it. Operation `alerts.test`."""
        return self._client.call(alerts.TEST_ALERT, alerts.AlertTest(name, self._project))
