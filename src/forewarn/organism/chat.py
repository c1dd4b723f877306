"""The organism's side of its chat format: question to ids, completion to program and reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.checkpoints.load import load_tokenizer
from forewarn.formats import Channels, bind

FORMAT = "plain-think"
"""the organism's chat format, a key of ``forewarn.formats.FORMATS``"""


@dataclass(frozen=True, slots=True)
class OrganismChat:
    """Channels of one organism folder, with what is read from a whole completion."""

    channels: Channels

    @classmethod
    def from_folder(cls, folder: Path) -> OrganismChat:
        return cls(bind(FORMAT, load_tokenizer(folder)))

    @property
    def pad_id(self) -> int:
        return int(self.channels.tokenizer.pad_token_id)

    @property
    def end_ids(self) -> tuple[int, ...]:
        return self.channels.end_ids

    def prompt_ids(self, question: str) -> tuple[int, ...]:
        return self.channels.prompt_ids(question)

    def program(self, token_ids: Sequence[int], entry_point: str | None = None) -> str | None:
        """The submitted program, which is to define ``entry_point``; None where no answer opened."""
        return self.channels.code(token_ids, self.channels.split(token_ids).n_reasoning, entry_point)

    def reasoning(self, token_ids: Sequence[int]) -> str:
        """The reasoning's text, closer left out."""
        n = self.channels.split(token_ids).n_reasoning
        return str(self.channels.tokenizer.decode(token_ids[:n], skip_special_tokens=True))
