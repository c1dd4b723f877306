"""A webhook: each alert as one POST, in the shape that Slack or Discord takes, or as the JSON of the alert itself.

The URL is a secret: it is never part of an error. Slack and Discord are told by their hosts; ``slack:URL`` and
``discord:URL`` say it for servers that take the same shape.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forewarn.errors import InputError
from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, title_of
from forewarn.monitor.sinks.jsonl import as_data
from forewarn.records import Alert

if TYPE_CHECKING:
    import httpx2

TRIES, FIRST_PAUSE_S, LONGEST_PAUSE_S, TIMEOUT_S = 3, 1.0, 30.0, 10.0
"""of one alert; pauses double, unless the server says how long to wait"""
SLACK_CHARACTERS, DISCORD_CHARACTERS, TITLE_CHARACTERS = 2900, 3900, 150
"""of a block's text, of an embed's description and of either's headline: what the services take, and a little less"""
_RAISED, _CALM = 0xD73A49, 0x6A737D


def slack_body(alert: Alert) -> dict[str, Any]:
    """Blocks of Slack's: a headline, what is known, the command as code; ``text`` for notifications."""
    title = title_of(alert)
    message, *further = lines_of(alert)
    text = _slack("\n".join([message, *(f"• {line}" for line in further)]))
    return {
        "text": _slack(f"{title}: {message}")[:SLACK_CHARACTERS],
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title[:TITLE_CHARACTERS]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": text[:SLACK_CHARACTERS]}},
        ],
    }


def _slack(text: str) -> str:
    """Slack reads these three as mentions and links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def discord_body(alert: Alert) -> dict[str, Any]:
    """One embed of Discord's; nobody is mentioned by what a name holds."""
    return {
        "embeds": [
            {
                "title": title_of(alert)[:TITLE_CHARACTERS],
                "description": "\n".join(lines_of(alert))[:DISCORD_CHARACTERS],
                "color": _RAISED if alert.raised else _CALM,
            }
        ],
        "allowed_mentions": {"parse": []},
    }


SHAPES: dict[str, Callable[[Alert], dict[str, Any]]] = {"slack": slack_body, "discord": discord_body, "json": as_data}
_HOSTS = {"hooks.slack.com": "slack", "discord.com": "discord", "discordapp.com": "discord"}


def read_place(place: str) -> tuple[str, str]:
    """(shape, URL) of ``URL``, ``SHAPE:URL`` or ``env:NAME``, which names a variable that holds either.

    Raises InputError for what is none of them.
    """
    if place.startswith("env:"):
        name = place.removeprefix("env:")
        held = os.environ.get(name, "")
        if not held or held.startswith("env:"):
            raise InputError(f"webhook=env:{name}: the variable {name} is not set; set it to the webhook's URL")
        return read_place(held)
    shape, _, rest = place.partition(":")
    url = rest if shape in SHAPES else place
    try:
        parsed = urlsplit(url)
        host = parsed.hostname if parsed.port != 0 else None
    except ValueError:  # a port that is not a number, a bracket that doesn't close
        parsed, host = urlsplit(""), None
    if parsed.scheme not in ("http", "https") or not host:
        raise InputError(
            "webhook= takes a URL that starts with http:// or https://, slack:URL, discord:URL or env:NAME"
        )
    return (shape if shape in SHAPES else _HOSTS.get(host, "json")), url


class Webhook:
    """Posts to one URL, a few times where the line or the server broke."""

    def __init__(self, place: str) -> None:
        import httpx2

        self._shape, self._url = read_place(place)
        self._broken = httpx2.HTTPError
        self._client = httpx2.Client(timeout=TIMEOUT_S)

    def post(self, alert: Alert) -> None:
        body = SHAPES[self._shape](alert)
        trouble = ""
        pause_s = 0.0
        for attempt in range(TRIES):
            time.sleep(pause_s)
            pause_s = FIRST_PAUSE_S * 2**attempt
            try:
                answer = self._client.post(self._url, json=body)
            except self._broken as error:
                trouble = type(error).__name__
                continue
            if answer.is_success:
                return
            trouble = f"status {answer.status_code}"
            if answer.status_code != 429 and answer.status_code < 500:
                break
            pause_s = _asked_pause_s(answer, pause_s)
        raise SinkFault(f"{urlsplit(self._url).hostname} did not take it: {trouble}")

    def close(self) -> None:
        self._client.close()


def _asked_pause_s(answer: httpx2.Response, otherwise: float) -> float:
    try:
        return min(LONGEST_PAUSE_S, max(0.0, float(answer.headers.get("retry-after", otherwise))))
    except ValueError:  # a date
        return otherwise


WEBHOOK = SinkKind(title="the webhook", open=Webhook, place="URL", check=read_place)
