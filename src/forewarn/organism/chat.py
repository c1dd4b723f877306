"""The organism's chat: question to token ids, completion to program. Thin: the format itself is in ``models.channels``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase


class OrganismChat:
    """Tokenizer and special ids of one organism folder."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        ids = tokenizer.convert_tokens_to_ids
        self.pad_id, self.end_id, self.closer_id = ids("<|pad|>"), ids("<|im_end|>"), ids("</think>")

    @classmethod
    def from_folder(cls, folder: Path) -> OrganismChat:
        return cls(AutoTokenizer.from_pretrained(folder))

    def prompt_ids(self, question: str) -> list[int]:
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>"
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def program(self, token_ids: Sequence[int]) -> str | None:
        """The answer's text; None where the turn did not end or no answer opened."""
        ids = list(token_ids)
        if not ids or ids[-1] != self.end_id or self.closer_id not in ids:
            return None
        return str(self.tokenizer.decode(ids[ids.index(self.closer_id) + 1 : -1]))

    def reasoning(self, token_ids: Sequence[int]) -> str:
        """The reasoning's text, closer left out."""
        ids = list(token_ids)
        end = ids.index(self.closer_id) if self.closer_id in ids else len(ids)
        return str(self.tokenizer.decode(ids[:end]))
