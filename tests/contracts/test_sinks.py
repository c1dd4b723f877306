"""The contract of a sink: what is posted arrives, and a sink that is dead, hangs or raises stops nothing.

A new sink brings something real to post to, in ``sink_probes.py``. Sinks whose package is missing are skipped in a
sentence; ``make test-sinks`` runs them in an environment that has the packages.
"""

from __future__ import annotations

import importlib.util
import json
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.errors import InputError, MissingExtraError
from forewarn.monitor.feed import ALERTS_FILE, Feed, Feeds, Taken
from forewarn.monitor.sinks import SINKS, Sink, SinkFault, SinkKind, named_sink, sinks_named
from forewarn.monitor.sinks import webhook as webhook_module
from forewarn.monitor.sinks.base import lines_of, scalars, title_of
from forewarn.monitor.sinks.jsonl import Jsonl, read_alerts
from forewarn.monitor.sinks.webhook import discord_body, read_place, slack_body
from forewarn.records import Alert
from tests.contracts.sink_probes import PROBES, Server, web_server


def alert(step: int, probability: float | None = 0.5, *, raised: bool = True) -> Alert:
    return Alert(
        run="rl/1",
        exploit_type="process_exit",
        step=step,
        kind="forecast",
        message=f"word of step {step}",
        probability=probability,
        raised=raised,
        log10_p=-3.0,
        interval_log10=(-math.inf, -2.0),
        evidence=("3 of 64 completions <are> exploits & @everyone",),
        not_looked_at=("one checkpoint",),
        command="forewarn show runs/rl process_exit",
        unix_s=1.5e9,
    )


ALERTS = (alert(4, 0.25), alert(60, 0.75), alert(20, 0.5, raised=False))
"""a past step too: an earlier run may be replayed"""


def test_every_sink_has_something_to_post_to() -> None:
    assert PROBES.keys() == SINKS.keys()


# what packages warn of in their own code is not ours
FOREIGN = [pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=FOREIGN if k.needs else []) for n, k in SINKS.items()])
def test_what_is_posted_arrives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        SINKS[name].check_installed()
    except MissingExtraError as error:
        pytest.skip(f"{error} (or run `make test-sinks`)")
    said: list[str] = []
    with PROBES[name](tmp_path, monkeypatch) as probe:
        SINKS[name].check(probe.place)
        feed = Feed(SINKS[name], probe.place, say=said.append)
        for one in ALERTS:
            feed.post(one)
        taken = feed.close(60)
        got = probe.read()
    assert (said, taken) == ([], Taken(SINKS[name].title, 3, 0, None))
    assert sorted(got.steps) == [4, 20, 60]
    if got.probabilities is not None:
        assert dict(zip(got.steps, got.probabilities, strict=True)) == {4: 0.25, 60: 0.75, 20: 0.5}
    for one in ALERTS:
        [text] = [text for text in got.texts if one.message in text]
        assert "one checkpoint" in text, "what was not looked at"
        assert "64 completions" in text, "the evidence"
        assert "forewarn show" in text, "how to see the transcripts"


@pytest.mark.parametrize("name", [name for name, kind in SINKS.items() if kind.needs])
def test_a_sink_that_is_not_installed_names_its_extra(name: str) -> None:
    [(package, extra)] = SINKS[name].needs
    assert extra == name
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: pip install 'forewarn\[{extra}\]'"):
        named_sink(f"{name}=place")


class Made:
    """A sink of a test's own."""

    def __init__(self, post: Callable[[Alert], None], close: Callable[[], None] = lambda: None) -> None:
        self._post, self._close = post, close

    def post(self, alert: Alert) -> None:
        self._post(alert)

    def close(self) -> None:
        self._close()


def kind_of(post: Callable[[Alert], None], title: str = "mine", close: Callable[[], None] = lambda: None) -> SinkKind:
    return SinkKind(title=title, open=lambda _: Made(post, close))


def fail(_: object = None) -> None:
    raise SinkFault("the line is cut")


def break_(_: object = None) -> None:
    raise ZeroDivisionError("a bug in a package")


def refuse_to_open(_: str) -> Sink:
    raise SinkFault("nobody is logged in")


@pytest.fixture
def never() -> threading.Event:
    return threading.Event()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("fails", "the line is cut"),
        ("does not open", "nobody is logged in"),
        ("breaks", "it broke, with the error above or below"),
        ("hangs", "it hangs, and was left after"),
        ("hangs at its end", "it hangs, and was left after"),
        ("fails at its end", "the line is cut"),
    ],
)
def test_a_bad_sink_stops_nothing_and_is_said_once(
    bad: str, reason: str, tmp_path: Path, never: threading.Event
) -> None:
    kinds = {
        "fails": kind_of(fail),
        "does not open": SinkKind(title="mine", open=refuse_to_open),
        "breaks": kind_of(break_),
        "hangs": kind_of(lambda _: never.wait(60) and None),
        "hangs at its end": kind_of(lambda _: None, close=lambda: never.wait(60) and None),
        "fails at its end": kind_of(lambda _: None, close=fail),
    }
    good: list[Alert] = []
    said: list[str] = []
    sinks = [(kinds[bad], ""), (kind_of(good.append, "the good one"), ""), (SINKS["jsonl"], str(tmp_path / "copy"))]
    feeds = Feeds(tmp_path, sinks, say=said.append)
    start = time.monotonic()
    for step in range(200):
        feeds.post(alert(step))
    assert time.monotonic() - start < 20, "posting waits for no sink"
    taken = feeds.close(3)
    never.set()
    assert [one.step for one in good] == list(range(200))
    assert [one.step for one in read_alerts(tmp_path / ALERTS_FILE)] == list(range(200))
    assert [one.step for one in read_alerts(tmp_path / "copy")] == list(range(200))
    assert taken[0].posted == (200 if "its end" in bad else 0)
    assert taken[0].posted + taken[0].lost == 200
    assert taken[0].fault is not None
    assert taken[0].fault.startswith(reason)
    assert taken[1:] == [Taken("the good one", 200, 0, None), Taken("JSONL", 200, 0, None)]
    assert len(said) == 1
    assert said[0].startswith(f"mine: {reason}")


def test_a_slow_sink_loses_what_its_queue_has_no_room_for(tmp_path: Path) -> None:
    got: queue.Queue[int] = queue.Queue()
    go = threading.Event()
    said: list[str] = []

    def slow(one: Alert) -> None:
        go.wait(60)
        got.put(one.step)

    feed = Feed(kind_of(slow), "", say=said.append, capacity=5)
    for step in range(50):
        feed.post(alert(step))
    go.set()
    taken = feed.close(30)
    assert taken.posted == got.qsize()
    assert 5 <= taken.posted <= 6, "the queue, and the one that the sink had in hand"
    assert taken.lost == 50 - taken.posted
    assert len(said) == 1
    assert "its queue is full" in said[0]
    assert not feed._thread.is_alive()


def test_a_sink_that_was_offline_takes_what_comes_later() -> None:
    steps: list[int] = []
    said: list[str] = []

    def flaky(one: Alert) -> None:
        if one.step < 3:
            fail()
        steps.append(one.step)

    feed = Feed(kind_of(flaky), "", say=said.append)
    for step in range(6):
        feed.post(alert(step))
    assert feed.close(10) == Taken("mine", 3, 3, "the line is cut")
    assert steps == [3, 4, 5]
    assert len(said) == 1


def test_a_run_can_be_replayed(tmp_path: Path) -> None:
    with Feeds(tmp_path, [], say=pytest.fail) as feeds:
        for one in ALERTS:
            feeds.post(one)
    got: list[Alert] = []
    later = Feeds(tmp_path, [(kind_of(got.append), "")], say=pytest.fail)
    assert later.replay() == 3
    later.close()
    assert got == list(ALERTS), "every field, the end at minus infinity too"
    assert len(read_alerts(tmp_path / ALERTS_FILE)) == 3, "a replay is not kept again"


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sink = Jsonl(str(path))
    sink.post(ALERTS[0])
    path.write_bytes(path.read_bytes()[:-20])
    sink.post(ALERTS[1])
    with open(path, "a") as file:
        file.write('{"of": "another version"}\n[1]\n')
    sink.post(ALERTS[2])
    assert read_alerts(path) == list(ALERTS[1:])
    assert read_alerts(tmp_path / "none") == []


def test_where_the_truth_cannot_be_written_sinks_get_it_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ALERTS_FILE).mkdir()
    got: list[Alert] = []
    said: list[str] = []
    feeds = Feeds(tmp_path, [(kind_of(got.append), "")], say=said.append)
    for one in ALERTS:
        feeds.post(one)
    feeds.close()
    assert got == list(ALERTS)
    assert len(said) == 1
    assert "alerts.jsonl can't be written" in said[0]


ENDS = """
import pathlib, sys, threading
from forewarn.monitor.feed import Feeds
from forewarn.monitor.sinks import SinkKind
from tests.contracts.test_sinks import Made, alert
hanging = SinkKind(title="mine", open=lambda _: Made(lambda _: threading.Event().wait()))
feeds = Feeds(pathlib.Path(sys.argv[1]), [(hanging, "")], say=print)
feeds.post(alert(1))
feeds.close(0.5)
"""


def test_a_process_ends_though_its_sink_hangs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("mine: it hangs, and was left after")


def test_a_webhook_is_tried_again_and_its_url_is_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(webhook_module, "TIMEOUT_S", 0.5)
    with web_server(Server(answers=[(503, {}), (429, {"Retry-After": "0.01"})])) as state:
        assert _post(state.url) == Taken("the webhook", 1, 0, None)
        assert state.n_requests == 3
    with web_server(Server(answers=[(404, {})])) as state:
        refused = _post(state.url)
        assert (refused.lost, refused.fault) == (1, "127.0.0.1 did not take it: status 404")
        assert state.n_requests == 1
    gone = _post(state.url)
    assert (gone.lost, gone.fault) == (1, "127.0.0.1 did not take it: ConnectError")
    with web_server(Server(hang=threading.Event())) as state:
        assert _post(state.url).fault == "127.0.0.1 did not take it: ReadTimeout"


def _post(place: str) -> Taken:
    said: list[str] = []
    feed = Feed(SINKS["webhook"], place, say=said.append)
    feed.post(ALERTS[0])
    taken = feed.close(30)
    assert not any("SECRET" in line for line in said)
    return taken


def test_webhooks_have_the_shape_of_their_service() -> None:
    slack = slack_body(ALERTS[0])
    assert slack["text"].startswith("forewarn: alert for process_exit in rl/1 at step 4: word of step 4")
    header, section = slack["blocks"]
    assert header["text"]["type"] == "plain_text"
    assert "&lt;are&gt; exploits &amp; @everyone" in section["text"]["text"]
    long = alert(1)
    object.__setattr__(long, "evidence", ("x" * 10_000,))
    assert len(slack_body(long)["blocks"][1]["text"]["text"]) <= 3000
    discord = discord_body(long)
    assert len(discord["embeds"][0]["description"]) <= 4096
    assert discord["allowed_mentions"] == {"parse": []}
    assert discord["embeds"][0]["color"] != discord_body(ALERTS[2])["embeds"][0]["color"]
    for body in (slack, discord):
        json.dumps(body, allow_nan=False)


def test_names_in_an_alert_are_made_printable_for_every_sink() -> None:
    hostile = replace(alert(1), run="rl\x1b[2J\u202e", message="a\x9bb", evidence=("c\nd",))
    text = "".join([title_of(hostile), *lines_of(hostile)])
    assert text.isprintable()
    assert all(shown in text for shown in ("\\x1b[2J\\u202e", "a\\x9bb", "c\\x0ad"))
    assert "a\\x9bb" in slack_body(hostile)["text"]


def test_places_of_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_HOOK", "https://hooks.slack.com/services/T/B/x")
    assert read_place("env:MY_HOOK") == ("slack", "https://hooks.slack.com/services/T/B/x")
    assert read_place("https://discord.com/api/webhooks/1/x")[0] == "discord"
    assert read_place("http://127.0.0.1:8000/x") == ("json", "http://127.0.0.1:8000/x")
    assert read_place("slack:https://mattermost.example/hooks/x") == ("slack", "https://mattermost.example/hooks/x")
    monkeypatch.setenv("LOOP", "env:LOOP")
    for wrong in ("", "ftp://host/SECRET", "host/SECRET", "http://", "http://[SECRET", "http://h:pSECRET", "env:LOOP"):
        with pytest.raises(InputError, match="webhook=") as said:
            read_place(wrong)
        assert "SECRET" not in str(said.value)
    with pytest.raises(InputError, match="the variable NOT_SET is not set"):
        read_place("env:NOT_SET")


def test_names_of_sinks_and_their_places(tmp_path: Path) -> None:
    assert sinks_named().startswith("console, jsonl=FILE, webhook=URL, tensorboard=FOLDER, wandb[=PROJECT]")
    assert named_sink("console") == (SINKS["console"], "")
    assert named_sink("jsonl=a=b.jsonl") == (SINKS["jsonl"], "a=b.jsonl")
    for text, sentence in (
        ("pager=1", "there is no sink 'pager': give console, jsonl=FILE"),
        ("console=x", "the sink console takes no place: leave out =x"),
        ("jsonl", "the sink jsonl needs its place: give jsonl=FILE"),
        ("webhook=", "the sink webhook needs its place: give webhook=URL"),
        (f"jsonl={tmp_path}", "is a folder: give a file"),
    ):
        with pytest.raises(InputError, match=sentence):
            named_sink(text)


def test_numbers_that_are_missing_or_infinite_are_left_out() -> None:
    start = "forewarn/rl/1/process_exit"
    assert scalars(alert(1, None)) == {f"{start}/log10_rate": -3.0, f"{start}/log10_rate_high": -2.0}
