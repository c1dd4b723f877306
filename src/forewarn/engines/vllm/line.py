"""The connection to a vLLM server: its URL, and requests that are retried if the connection or the server broke.

Not here: the content of requests and answers (``requests.py``, ``answers.py``), the engine (``server.py``).
"""

from __future__ import annotations

import time
from typing import Any

import httpx2

from forewarn.errors import EngineFault, InputError, ModelError

RETRIES = 4
"""tries after the first, for a broken connection or a status of 5xx"""
FIRST_PAUSE_S = 0.5
"""before the first retry; doubled at each"""


class ServerLine:
    """Connections to one server, for any number of threads. Raises InputError for an invalid URL.

    ``concurrency``: maximum number of connections. ``timeout_s``: default time limit of one request.
    """

    def __init__(self, url: str, *, concurrency: int, timeout_s: float) -> None:
        check_url(url)
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = httpx2.Client(base_url=self.url, timeout=timeout_s, limits=limits)

    def close(self) -> None:
        self._client.close()

    def healthy(self) -> bool:
        """Return whether the server reports that it is healthy."""
        try:
            return bool(self._client.get("/health", timeout=10).status_code == 200)
        except httpx2.HTTPError:
            return False

    def models(self) -> Any:
        """Return the server's list of models as data. Raises ModelError if it gives none."""
        try:
            answer = self._client.get("/v1/models", timeout=10)
        except httpx2.HTTPError as error:
            raise ModelError(
                f"no vLLM server answers at {self.url} ({type(error).__name__}); start one with `forewarn engine serve`"
            ) from None
        if answer.status_code == 200:
            return as_data(answer)
        if self.url.endswith("/v1"):
            raise ModelError(f"{self.url} is not the root of a vLLM server: leave out /v1")
        raise ModelError(
            f"the server at {self.url} answers /v1/models with {said(answer)}; give the root of a vLLM server that "
            "does not require a key"
        )

    def complete(self, body: dict[str, Any]) -> Any:
        """Return the server's answer to a completion request. Raises EngineFault if it refuses or stays broken."""
        answer, _ = self.send("/v1/completions", body)
        if answer.status_code != 200:
            raise EngineFault(f"the server at {self.url} refused a request: {said(answer)}")
        return as_data(answer)

    def send(
        self, path: str, body: dict[str, Any], *, tries: int = 1 + RETRIES, timeout_s: float | None = None
    ) -> tuple[httpx2.Response, int]:
        """POST a request, with retries after a pause if the connection broke or the status is 5xx or 429. Returns the
        answer and the number of the try that got it. Raises EngineFault after the last try."""
        trouble = ""
        for attempt in range(tries):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._client.post(path, json=body, timeout=timeout_s or self._timeout_s)
            except httpx2.HTTPError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code < 500 and answer.status_code != 429:
                return answer, attempt + 1
            trouble = said(answer)
        raise EngineFault(f"the server at {self.url} failed {tries} times in a row ({trouble}); look into its log")


def check_url(url: str) -> None:
    """Raise InputError for text that can't be a server's URL."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"engine URL is {url!r}: give one that starts with http:// or https://")
    try:
        named = bool(httpx2.URL(url).host)
    except httpx2.InvalidURL as error:
        raise InputError(f"engine URL is {url!r} ({error}): give one such as http://127.0.0.1:8000") from None
    if not named:
        raise InputError(f"engine URL is {url!r}: it has no host; give one such as http://127.0.0.1:8000")


def as_data(answer: httpx2.Response) -> Any:
    """Return an answer's JSON value, or None if it is not JSON."""
    try:
        return answer.json()
    except ValueError:
        return None


def said(answer: httpx2.Response) -> str:
    return f"status {answer.status_code}, {' '.join(answer.text.split())[:200]}"
