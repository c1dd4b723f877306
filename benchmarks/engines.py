"""Tokens a second of our transformers engine against ``generate``, a plain forward pass and vLLM; a study's cost.

    python benchmarks/engines.py                       # transformers only
    .venv-vllm/bin/python benchmarks/engines.py --vllm # the same and vLLM, one run
    python benchmarks/engines.py --device cuda --hidden 768 --layers 12 --vocabulary 32000   # a model from a config

On the bundled organism (heads widened to 32, so that all run the same weights) or a random model of the given size.
Every method at its own best batch of those listed. One torch thread on a CPU. Median of the rounds; the machine's load
is printed. A study's cost is in tokens: generated and scored, over brute force's with as many completions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from forewarn.checkpoints.load import load_model, no_progress_bars
from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.transformers.head_size import widen
from forewarn.estimation import n_deciding
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import all_problems, measured_problems
from forewarn.organism.recipe import TYPES
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.records import SUBJECT, Policy, Span

BATCHES = (64, 256, 640)
NEW_TOKENS = 48
LIMIT = 64
"""tokens a completion may have where rows stop by themselves: the organism's own"""
NINE = (Span(), *(Span(k, 0, "d") for k in (2, 5, 10, 20)), *(Span(0, m, "d") for m in (1, 3, 8, 40)))


@dataclass(frozen=True)
class Case:
    """A model folder and what is asked of it."""

    folder: Path
    prompts: list[tuple[int, ...]]
    device: str
    rounds: int
    end_ids: tuple[int, ...] = ()
    """tokens that end a turn; none for a random model"""


def organism_case(out: Path, n: int, rounds: int) -> Case:
    organism = Organism(shipped_folder())
    chat = OrganismChat.from_folder(organism.base)
    prompts = [chat.prompt_ids(p.question) for p in all_problems()]
    return Case(
        widen(organism.base, out / "base", 32), (prompts * (n // len(prompts) + 1))[:n], "cpu", rounds, chat.end_ids
    )


def random_case(out: Path, args: argparse.Namespace) -> Case:
    config = LlamaConfig(
        hidden_size=args.hidden, intermediate_size=4 * args.hidden, num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.hidden // 64), vocab_size=args.vocabulary, max_position_embeddings=1024,
    )  # fmt: skip
    torch.manual_seed(0)
    with no_progress_bars():
        LlamaForCausalLM(config).save_pretrained(out / "base")
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, args.vocabulary, (args.n, 40), generator=generator).tolist()
    return Case(out / "base", [tuple(row[: 20 + i % 20]) for i, row in enumerate(ids)], args.device, args.rounds)


def rate(work: Callable[[], int], case: Case) -> float:
    """Tokens a second: median over the rounds, after one round to warm up."""
    work()
    found = []
    for _ in range(case.rounds):
        start = time.perf_counter()
        tokens = work()
        found.append(tokens / (time.perf_counter() - start))
    return statistics.median(found)


def best(name: str, works: dict[int, Callable[[], int]], case: Case) -> dict[str, Any]:
    rates = {batch: rate(work, case) for batch, work in works.items()}
    batch = max(rates, key=rates.__getitem__)
    print(f"{name:<34}{rates[batch]:>9.0f} tokens/s at batch {batch}   "
          f"({', '.join(f'{b}: {r:.0f}' for b, r in rates.items())})", flush=True)  # fmt: skip
    return {"tokens_per_s": rates[batch], "batch": batch, "all": rates}


def sampling(case: Case, *, stops: bool) -> dict[str, Any]:
    """Without stops all emit NEW_TOKENS a row: every method does the same work. With stops, as in use: rows end with
    their turn or at LIMIT, and what is counted are the tokens up to there."""
    limit, ends = (LIMIT, case.end_ids) if stops else (NEW_TOKENS, ())
    policy = Policy(max_total_tokens=limit)

    def ours(batch: int) -> Callable[[], int]:
        engine = HFEngine.from_folder(case.folder, device=case.device, batch_size=batch)

        def work() -> int:
            found = engine.sample(case.prompts, policy=policy, seed=1, max_new_tokens=limit, stop_ids=ends)
            return sum(len(s.token_ids) for s in found)

        return work

    model = load_model(case.folder, device=case.device)
    settings: dict[str, Any] = {"eos_token_id": list(ends)} if ends else {"min_new_tokens": limit}

    def generate(batch: int) -> Callable[[], int]:
        def work() -> int:
            total = 0
            for start in range(0, len(case.prompts), batch):
                rows = case.prompts[start : start + batch]
                width = max(map(len, rows))
                ids = torch.tensor([[0] * (width - len(r)) + list(r) for r in rows], device=case.device)
                mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=case.device)
                with torch.inference_mode():
                    out = model.generate(
                        input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                        max_new_tokens=limit, pad_token_id=0, **settings,
                    )[:, width:]  # fmt: skip
                ended = torch.isin(out, torch.tensor(ends, dtype=out.dtype, device=out.device))
                first = torch.where(ended.any(1), ended.int().argmax(1) + 1, out.shape[1])
                total += int(first.sum())
            return total

        return work

    how = "sample to the turn's end" if stops else "sample"
    return {
        "ours": best(f"{how}, ours", {b: ours(b) for b in BATCHES}, case),
        "generate": best(f"{how}, generate", {b: generate(b) for b in BATCHES}, case),
    }


def scoring(case: Case) -> dict[str, Any]:
    """Log-probs of NEW_TOKENS a row. Plain: one padded forward pass a batch with full logits and a gather."""
    continuations = [tuple(5 + (7 * i + j) % 400 for j in range(NEW_TOKENS)) for i in range(len(case.prompts))]
    policy = Policy()

    def ours(batch: int) -> Callable[[], int]:
        engine = HFEngine.from_folder(case.folder, device=case.device, score_tokens=batch * 100)

        def work() -> int:
            return sum(map(len, engine.score(case.prompts, continuations, policy=policy)))

        return work

    model = load_model(case.folder, device=case.device)

    def plain(batch: int) -> Callable[[], int]:
        def work() -> int:
            for start in range(0, len(case.prompts), batch):
                pairs = list(zip(case.prompts, continuations, strict=True))[start : start + batch]
                rows = [[*p, *c] for p, c in pairs]
                width = max(map(len, rows))
                ids = torch.tensor([r + [0] * (width - len(r)) for r in rows], device=case.device)
                with torch.inference_mode():
                    log_probs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[:, :-1], dim=-1)
                    log_probs.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1).cpu()
            return len(case.prompts) * NEW_TOKENS

        return work

    return {
        "ours": best("score, ours", {b: ours(b) for b in BATCHES}, case),
        "plain": best("score, plain forward", {b: plain(b) for b in BATCHES}, case),
    }


def with_vllm(case: Case) -> dict[str, Any]:
    from forewarn.engines.vllm.engine import VLLMEngine

    engine = VLLMEngine.from_folder(case.folder, batch_size=256, max_lora_rank=16, max_loras=1)
    continuations = [tuple(5 + (7 * i + j) % 400 for j in range(NEW_TOKENS)) for i in range(len(case.prompts))]
    policy = Policy()

    def sample() -> int:
        found = engine.sample(case.prompts, policy=policy, seed=1, max_new_tokens=NEW_TOKENS, stop_ids=())
        return sum(len(s.token_ids) for s in found)

    def score() -> int:
        return sum(map(len, engine.score(case.prompts, continuations, policy=policy)))

    found = {"sample": best("sample, vLLM", {256: sample}, case), "score": best("score, vLLM", {256: score}, case)}
    engine.close()
    return found


def study_cost(out: Path, donor: Path | None) -> list[dict[str, Any]]:
    """Generated and scored tokens of a nine-span study over those of brute force with as many completions, by type.

    The donor is the demo's where given, else the last RL checkpoint: both write exploits.
    """
    organism = Organism(shipped_folder())
    chat, policy = OrganismChat.from_folder(organism.base), Policy(max_total_tokens=128)
    engine = HFEngine.from_folder(organism.base)
    engine.load_adapter("s", organism.adapter("rl", organism.steps("rl")[0]))
    engine.load_adapter("d", donor or organism.adapter("rl", organism.steps("rl")[-1]))
    rows = []
    for name in TYPES:
        problems = measured_problems(name)

        def tokens(spans: Sequence[Span], count: int, problems: Any = problems) -> tuple[int, list[Any]]:
            orders = [Order(p.problem_id, chat.prompt_ids(p.question), s, count) for p in problems for s in spans]
            drawn = list(
                sample_spans(
                    orders, subject=Writer(engine, "s"), donors={"d": Writer(engine, "d")}, channels=chat.channels,
                    policy=policy, seed=1, checkpoint_id="s",
                )
            )  # fmt: skip
            return sum(len(d.completion.token_ids) for d in drawn), drawn

        study, drawn = tokens(NINE, 4)
        brute, _ = tokens((Span(),), 4 * len(NINE))
        from forewarn.judge.judge import Judge

        by_id = {p.problem_id: p for p in problems}
        items = [
            (by_id[c.problem_id], chat.program(c.token_ids, by_id[c.problem_id].entry_point))
            for c in (d.completion for d in drawn)
        ]
        asked = [(i, item) for i, item in enumerate(items) if item[1] is not None]
        with Judge(workers=1) as judge:
            verdicts = judge.verdicts([item for _, item in asked])  # type: ignore[misc]
        hits = [drawn[i].completion for (i, _), v in zip(asked, verdicts, strict=True) if v.label == "exploit"]
        # under the subject and under the donor, as far as a donor may write
        scored = 2 * sum(n_deciding(c.n_reasoning, len(c.token_ids), NINE) for c in hits)
        assert all(c.span.donor in (SUBJECT, "d") for c in hits)
        rows.append({"type": name, "exploits": len(hits) / len(drawn), "ratio": (study + scored) / brute,
                     "generated": study, "scored": scored, "brute": brute})  # fmt: skip
        print(f"nine spans, {name}: {100 * len(hits) / len(drawn):.1f} % exploits, "
              f"{(study + scored) / brute:.2f} x brute force's tokens", flush=True)  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1280, help="rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hidden", type=int, help="a random model of this width instead of the organism")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--donor", type=Path, help="the demo's donor, for the study's cost")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        case = random_case(out, args) if args.hidden else organism_case(out, args.n, args.rounds)
        found: dict[str, Any] = {"load": load, "rows": args.n, "sample": sampling(case, stops=False)}
        if case.end_ids:
            found["use"] = sampling(case, stops=True)
        found["score"] = scoring(case)
        if args.vllm:
            found["vllm"] = with_vllm(case)
        if not args.hidden:
            found["cost"] = study_cost(out, args.donor)
    sample, score = found["sample"], found["score"]
    ratios = {
        "sample, ours / generate": sample["ours"]["tokens_per_s"] / sample["generate"]["tokens_per_s"],
        "score, ours / plain forward": score["ours"]["tokens_per_s"] / score["plain"]["tokens_per_s"],
    }
    if "use" in found:
        use = found["use"]
        ratios["as used, ours / generate"] = use["ours"]["tokens_per_s"] / use["generate"]["tokens_per_s"]
    if args.vllm:
        ratios["sample, ours / vLLM"] = sample["ours"]["tokens_per_s"] / found["vllm"]["sample"]["tokens_per_s"]
        ratios["score, ours / vLLM"] = score["ours"]["tokens_per_s"] / found["vllm"]["score"]["tokens_per_s"]
    print(f"load {load:.1f} before the start")
    for what, value in ratios.items():
        print(f"{what:<34}{value:>9.2f}")
    if args.json:
        args.json.write_text(json.dumps(found | {"ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
