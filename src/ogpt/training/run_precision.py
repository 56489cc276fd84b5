"""Precision and compilation of a run: what settings and machine decide, without a framework."""

from __future__ import annotations

from ogpt import notices

COMPILE_PAYS_SECONDS = 60.0
"""Estimated seconds of training above which compiling, which takes about 30 s, pays."""

_FLOPS_PER_S = 1e11
"""Speed that the estimate assumes: about that of a few CPU cores."""


def uses_bfloat16(precision: str, multiplies: bool) -> bool:
    """Whether activations are bfloat16, otherwise float32; weights and moments are always float32.

    auto uses bfloat16 only where the hardware multiplies it: emulated, it is slower than float32.
    bfloat16 on other hardware gives the notice `precision-emulated`.

    Args:
        precision: auto, float32 or bfloat16.
        multiplies: Whether the hardware multiplies bfloat16.
    """
    if precision == "bfloat16" and not multiplies:
        notices.tell("precision-emulated", precision=precision)
    return precision == "bfloat16" or (precision == "auto" and multiplies)


def compiling_pays(setting: str, flops: float) -> bool:
    """Whether a run should be compiled; auto: if it is long enough to earn the time back.

    Args:
        setting: auto, on or off.
        flops: Floating-point operations of the whole run.
    """
    pays = flops > COMPILE_PAYS_SECONDS * _FLOPS_PER_S
    return setting == "on" or (setting == "auto" and pays)
